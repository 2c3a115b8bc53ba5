"""Quantities that a user declares by irreps: targets.h5 and targets_pred.h5.

One dataset per name at the root, with attributes ``irreps``, ``unit`` and ``per``: a row per atom
(n, d), a row per pair (P, d) beside the dataset ``atom_pairs`` of the file, or one row for the
structure (d,). The components are those of `deeph_spec.irreps`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from deeph_spec.errors import InputError
from deeph_spec.files import replace_file
from deeph_spec.irreps import dimension
from deeph_spec.matrix_files import open_matrix
from deeph_spec.pairs import encode, find, on_site, partners
from deeph_spec.system import FORMAT_VERSION

TENSOR_FILE, TENSOR_PREDICTION_FILE = "targets.h5", "targets_pred.h5"
PER = ("atom", "pair", "structure")
PAIRS_KEY = "atom_pairs"


@dataclass(frozen=True, eq=False)
class Tensor:
    """Values of one quantity of one structure.

    Parameters
    ----------
    name : str
        E.g. ``"born_charges"``.
    irreps : str
        E.g. ``"1x0e+1x1e+1x2e"``.
    per : str
        "atom", "pair" or "structure".
    values : array
        (n, d), (P, d) or (d,).
    unit : str
        E.g. ``"eV"``; ``"1"`` for none.
    atom_pairs : (P, 5) int64 array, optional
        R1, R2, R3, i, j of every row, for quantities per pair. Without on-site pairs, closed
        under (R, i, j) -> (-R, j, i); pairs that are not listed have the value zero.
    """

    name: str
    irreps: str
    per: str
    values: NDArray[np.float64]
    unit: str = "1"
    atom_pairs: NDArray[np.int64] | None = None

    def checked(self, atoms: int | None = None) -> Tensor:
        """Return the quantity after checking that its parts agree.

        Parameters
        ----------
        atoms : int, optional
            Number of atoms of the structure.

        Returns
        -------
        Tensor
            Itself.

        Raises
        ------
        InputError
            Rule E40: shape, irreps, pairs or numbers are wrong; the line names the dataset.
        """
        size = dimension(self.irreps)
        pairs = self.atom_pairs
        rows: dict[str, int | None] = {"atom": atoms, "pair": None if pairs is None else len(pairs)}
        if self.per not in PER or (self.per == "pair" and pairs is None):
            found = "no dataset atom_pairs" if self.per == "pair" else f"per = '{self.per}'"
            self._refuse(f"{found}, expected per = atom, structure, or pair beside atom_pairs")
        expected: tuple[Any, ...] = (size,)
        if self.per != "structure":
            count = rows[self.per]
            expected = (self.values.shape[0] if count is None else count, size)
        if self.values.shape != expected:
            where = "" if self.per == "structure" else f" (a row per {self.per})"
            self._refuse(f"shape {self.values.shape}, {self.irreps} needs {expected}{where}")
        if not np.isfinite(self.values).all():
            self._refuse("NaN or infinity")
        if self.per == "pair" and pairs is not None:
            self._check_pairs(pairs, atoms)
        return self

    def _check_pairs(self, pairs: NDArray[np.int64], atoms: int | None) -> None:
        if pairs.ndim != 2 or pairs.shape[1] != 5:
            self._refuse(f"atom_pairs of shape {pairs.shape}, expected (P, 5)")
        most = pairs[:, 3:].max(initial=-1)
        if len(pairs) and (pairs[:, 3:].min() < 0 or (atoms is not None and most >= atoms)):
            self._refuse("atom_pairs names an atom that is not there")
        if on_site(pairs).any():
            self._refuse("atom_pairs holds an atom with itself; quantities of atoms are per atom")
        keys, backwards = encode(pairs, partners(pairs))
        if len(np.unique(keys)) < len(keys):
            self._refuse("atom_pairs lists a pair twice")
        lonely = np.flatnonzero(find(keys, backwards) < 0)
        if len(lonely):
            self._refuse(f"atom_pairs: the partner (-R, j, i) of {pairs[lonely[0]].tolist()} lacks")

    def _refuse(self, what: str) -> None:
        raise InputError(
            f"{self.name}: {what}; correct or remove the dataset", rule="E40", key=self.name
        )


def tensor_names(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Name the quantities of a file without reading them.

    Parameters
    ----------
    path : path-like
        targets.h5 or targets_pred.h5.

    Returns
    -------
    tuple of str
        In alphabetical order.

    Raises
    ------
    InputError
        If the file is no HDF5 file.
    """
    with open_matrix(path) as file:
        return _names(file)


def _names(file: h5py.File) -> tuple[str, ...]:
    return tuple(k for k in file if k != PAIRS_KEY and isinstance(file[k], h5py.Dataset))


def read_tensors(
    path: str | os.PathLike[str], names: Sequence[str] | None = None
) -> dict[str, Tensor]:
    """Read quantities of a file.

    Parameters
    ----------
    path : path-like
        targets.h5 or targets_pred.h5.
    names : sequence of str, optional
        Which; all of them if left out.

    Returns
    -------
    dict
        By name. Values are float64.

    Raises
    ------
    InputError
        If the file is no HDF5 file, a name is missing, or a dataset does not say its irreps.
    """
    path = Path(path)
    with open_matrix(path) as file:
        there = _names(file)
        missing = [name for name in names or () if name not in there]
        if missing:
            raise InputError(
                f"{path}: {missing[0]}: missing; the file has {', '.join(there) or 'nothing'}",
                rule="E40",
                key=missing[0],
            )
        pairs = file[PAIRS_KEY][()].astype(np.int64) if PAIRS_KEY in file else None
        return {
            name: _tensor(path, file[name], pairs) for name in (there if names is None else names)
        }


def _tensor(path: Path, dataset: h5py.Dataset, pairs: NDArray[np.int64] | None) -> Tensor:
    name = dataset.name.lstrip("/")
    texts = {key: _text(dataset.attrs.get(key)) for key in ("irreps", "unit", "per")}
    if texts["irreps"] is None or dataset.dtype.kind not in "fiu":
        raise InputError(
            f"{path}: {name}: expected real numbers with an attribute irreps such as 1x0e+1x1o; "
            "write it",
            rule="E40",
            key=name,
        )
    per = texts["per"] or ("structure" if dataset.ndim == 1 else "atom")
    return Tensor(
        name,
        texts["irreps"],
        per,
        dataset[()].astype(np.float64),
        texts["unit"] or "1",
        pairs if per == "pair" else None,
    )


def _text(value: Any) -> str | None:
    return value.decode() if isinstance(value, bytes) else None if value is None else str(value)


def write_tensors(
    path: str | os.PathLike[str],
    tensors: Sequence[Tensor],
    dtype: type[np.floating[Any]] = np.float64,
    attributes: Mapping[str, str] | None = None,
) -> None:
    """Write quantities of one structure atomically.

    Parameters
    ----------
    path : path-like
        targets.h5 or targets_pred.h5; replaced if it is there.
    tensors : sequence of Tensor
        With different names. All that are per pair share one list of pairs.
    dtype : numpy type
        Of the numbers in the file.
    attributes : mapping, optional
        Further attributes of the file, e.g. the provenance.

    Raises
    ------
    InputError
        If a quantity contradicts itself, or lists of pairs differ.
    """
    checked = [tensor.checked() for tensor in tensors]
    lists = [tensor.atom_pairs for tensor in checked if tensor.atom_pairs is not None]
    if any(not np.array_equal(pairs, lists[0]) for pairs in lists):
        raise InputError(f"{path}: quantities of one file need one list of pairs; give them all")
    with replace_file(path) as temporary, h5py.File(temporary, "w", locking=False) as file:
        file.attrs.update({"format_version": FORMAT_VERSION, "quantity": "targets"})
        file.attrs.update(attributes or {})
        if lists:
            file.create_dataset(PAIRS_KEY, data=lists[0])
        for tensor in tensors:
            dataset = file.create_dataset(tensor.name, data=tensor.values.astype(dtype))
            dataset.attrs.update({"irreps": tensor.irreps, "unit": tensor.unit, "per": tensor.per})
