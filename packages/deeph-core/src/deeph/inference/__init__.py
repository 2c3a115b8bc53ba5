"""Predictions: from a model and structures to complete folders of the format."""
