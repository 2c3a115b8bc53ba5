"""Engines compute what no DFT code has computed yet: from structures to structure folders."""
