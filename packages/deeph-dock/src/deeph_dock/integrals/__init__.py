"""Two-centre integrals of atomic orbitals: radial transforms, splines, rotation, assembly."""
