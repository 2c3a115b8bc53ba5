"""Trained models: network, representation and baseline as one thing, and as one file."""
