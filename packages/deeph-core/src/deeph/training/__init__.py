"""Training: data, losses, optimisers, schedules, checkpoints and the loop over epochs."""
