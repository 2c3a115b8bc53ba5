"""The data format of deep-learning DFT Hamiltonians: readers, writers, validation."""
