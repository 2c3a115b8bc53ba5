"""Whether stored overlaps are those of a basis, and if not, what they look like.

S is recomputed from the radial functions for every pair. Where it differs, other readings of the
same numbers are tried: other units, lattice vectors, atoms, orbitals, factors. A reading is a cause
only if the overlaps recomputed under it agree with the stored ones: nothing is guessed from the
looks of a difference.
"""

from deeph_dock.overlap_diagnosis.examination import (
    Agreement,
    examine,
    tolerance_of,
    unlike_elements,
)

__all__ = ["Agreement", "examine", "tolerance_of", "unlike_elements"]
