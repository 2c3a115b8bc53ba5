"""Equivariant networks that predict DFT Hamiltonians."""
