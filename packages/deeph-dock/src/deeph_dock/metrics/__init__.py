"""How far predictions are from their references: Eqs. 11 to 16 of the DeepH-pack paper.

``matrices`` has Eqs. 11 and 15, ``spectra`` Eqs. 12, 13, 14 and 16 as functions of arrays,
``bands`` the errors along a path that `dock band` prints, ``tensors`` those of quantities declared
by irreps.
"""

from deeph_dock.metrics.bands import BandError, band_error
from deeph_dock.metrics.matrices import (
    MatrixError,
    MeanErrors,
    deviation,
    gauge_shift,
    hamiltonian_error,
    matrix_error,
    overlap_trace,
    spinor_overlap,
)
from deeph_dock.metrics.spectra import (
    band_mae,
    band_shift,
    density_of_states,
    dos_error,
    energy_window,
    in_window,
    nearest_levels,
    state_error,
)
from deeph_dock.metrics.tensors import TensorError, tensor_error

__all__ = [
    "BandError",
    "MatrixError",
    "MeanErrors",
    "TensorError",
    "band_error",
    "band_mae",
    "band_shift",
    "density_of_states",
    "deviation",
    "dos_error",
    "energy_window",
    "gauge_shift",
    "hamiltonian_error",
    "in_window",
    "matrix_error",
    "nearest_levels",
    "overlap_trace",
    "spinor_overlap",
    "state_error",
    "tensor_error",
]
