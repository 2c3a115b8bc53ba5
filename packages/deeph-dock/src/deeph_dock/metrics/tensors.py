"""How far predicted quantities declared by irreps are from their references.

In: `Tensor`s of targets.h5 and targets_pred.h5. Out: errors of their components, in their unit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from deeph_spec.errors import InputError
from deeph_spec.pairs import encode, find
from deeph_spec.tensors import Tensor
from numpy.typing import NDArray


@dataclass(frozen=True)
class TensorError:
    """Errors of one quantity of one structure.

    Attributes
    ----------
    unit, per : str
        As in the file.
    mae, rmse, max : float
        Over all components.
    components : int
        Numbers counted.
    """

    unit: str
    per: str
    mae: float
    rmse: float
    max: float
    components: int


def tensor_error(prediction: Tensor, reference: Tensor) -> TensorError:
    """Compare a predicted quantity with its reference.

    Parameters
    ----------
    prediction, reference : Tensor
        Of one structure. Pairs may differ in order; those of the reference count, and where the
        prediction lacks one it is zero there.

    Raises
    ------
    InputError
        If they are different kinds of quantity, or hold NaN.
    """
    name = reference.name
    for what in ("irreps", "per", "unit"):
        found, expected = getattr(prediction, what), getattr(reference, what)
        if found != expected:
            raise InputError(f"{name}: {what}: predicted '{found}', the reference has '{expected}'")
    values = _on_pairs_of(prediction, reference)
    if values.shape != reference.values.shape:
        raise InputError(
            f"{name}: shapes {values.shape} and {reference.values.shape} differ: are they of one "
            "structure?"
        )
    if not (np.isfinite(values).all() and np.isfinite(reference.values).all()):
        raise InputError(f"{name}: NaN or infinity; make the file anew")
    difference = np.abs(values - reference.values)
    if not difference.size:
        raise InputError(f"{name}: holds no numbers")
    return TensorError(
        reference.unit,
        reference.per,
        float(difference.mean()),
        float(np.sqrt(np.mean(difference**2))),
        float(difference.max()),
        difference.size,
    )


def _on_pairs_of(prediction: Tensor, reference: Tensor) -> NDArray[np.float64]:
    """Return the values of a prediction in the order of the reference's pairs."""
    if prediction.atom_pairs is None or reference.atom_pairs is None:
        return prediction.values
    known, wanted = encode(prediction.atom_pairs, reference.atom_pairs)
    rows = find(known, wanted)
    return np.where(rows[:, None] >= 0, prediction.values[rows], 0.0)
