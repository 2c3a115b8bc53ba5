"""Structures from structures: perturbed, shifted, repeated, substituted, rotated, twisted.

Pure functions on `deeph_spec.structure.Structure`; what is random comes from a
`numpy.random.Generator` that is given. `recording` makes and writes them, each with how it was
made.
"""
