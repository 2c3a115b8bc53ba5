"""From DFT codes to the DeepH format, and from Hamiltonians to physics."""
