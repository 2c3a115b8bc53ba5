"""Trainings for the benchmark of accuracy: the sets, what may be changed, one training."""
