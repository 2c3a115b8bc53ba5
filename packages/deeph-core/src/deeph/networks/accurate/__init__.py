"""The network `accurate`."""
