"""Runs of DFT codes for benchmarks: the files of each code, with made-up numbers of real shape."""
