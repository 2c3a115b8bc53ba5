"""The spin setting of a Hamiltonian, where info.json does not say it.

The published layout has no key that tells collinear spin from spin-orbit coupling. The blocks do:
zero up-down parts and no imaginary part mean collinear.
"""

from __future__ import annotations

import numpy as np

from deeph_spec.blocks import BlockMatrix
from deeph_spec.system import SystemInfo


def spin_of(info: SystemInfo, hamiltonian: BlockMatrix) -> str:
    """Return the spin setting of a Hamiltonian.

    Parameters
    ----------
    info : SystemInfo
        What it says wins.
    hamiltonian : BlockMatrix
        H in eV; all its blocks are looked at where `info` does not say.

    Returns
    -------
    str
        "none", "collinear" or "soc".
    """
    if info.spin is not None:
        return info.spin
    if not info.spinful:
        return "none"
    for _, stack in hamiltonian.by_shape():
        blocks, rows, columns = stack.shape
        spinor = stack.reshape(blocks, 2, rows // 2, 2, columns // 2)
        if np.any(stack.imag) or np.any(spinor[:, 0, :, 1]) or np.any(spinor[:, 1, :, 0]):
            return "soc"
    return "collinear"
