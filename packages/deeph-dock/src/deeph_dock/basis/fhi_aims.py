"""Species of FHI-aims: recognised, to say why their functions cannot be had.

control.in names the functions of a species but does not hold them: FHI-aims finds them by solving
radial equations (of the free atom with its functional and relativity, of ions, of hydrogen-like
potentials), confines them by cut_pot, and orthonormalises them on the atom. Gaussian functions are
written out with their exponents, but are orthonormalised as well, among themselves and with the
others; in which order no file says, and no output of such a species has been seen here. A guess
would give overlaps that look right and are wrong, so every species is refused.
"""

from __future__ import annotations

import re
from pathlib import Path

from deeph_spec.errors import InputError

from deeph_dock.basis import AtomicBasis

LOOKS_FOR = "control.in, or files of species_defaults"
QUADRATURES = ("exact",)

_HEAD_BYTES = 2**16
_MOST_BYTES = 2**24
_SPECIES = re.compile(rb"^[ \t]*species[ \t]+\S", re.MULTILINE)
_NUCLEUS = re.compile(rb"^[ \t]*nucleus[ \t]+[\d.+-]", re.MULTILINE)
_KINDS = {
    "valence": "minimal",
    "ion_occ": "minimal",
    "ionic": "ionic",
    "hydro": "hydro",
    "confined": "confined",
    "sto": "sto",
    "gaussian": "gaussian",
}


def recognises(path: Path) -> bool:
    """Tell whether a file describes species of FHI-aims.

    Parameters
    ----------
    path : Path
        Any file.

    Returns
    -------
    bool
        True if it has lines ``species`` and ``nucleus`` in its first 64 kB.
    """
    try:
        with open(path, "rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError:
        return False
    return b"\0" not in head and bool(_SPECIES.search(head)) and bool(_NUCLEUS.search(head))


def read(path: Path, quadrature: str, orbitals: str | None) -> AtomicBasis:
    """Say that the functions of a species are not in its file.

    Parameters
    ----------
    path : Path
        A file that `recognises` takes.
    quadrature, orbitals
        Whatever was asked for.

    Returns
    -------
    AtomicBasis
        Never.

    Raises
    ------
    InputError
        Always: what the functions are, and how to get S from FHI-aims itself.
    """
    try:
        with open(path, "rb") as file:
            text = file.read(_MOST_BYTES).decode("utf-8", "replace")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    name, kinds = _first_species(text)
    if kinds == ["gaussian"]:
        what = (
            "Gaussian functions, which FHI-aims orthonormalises on the atom in an order that is in"
            " no file"
        )
    else:
        what = (
            f"functions ({', '.join(kinds) or 'none named'}) of FHI-aims' own atomic solver, which "
            "are in no file"
        )
    raise InputError(
        f"{path}: species {name} has {what}: S cannot be computed from it; let FHI-aims write S "
        "(control.in: output_rs_matrices plain for crystals, output h_s_matrices for molecules; S "
        "needs no converged density) and take it with dock convert"
    )


def valence(path: Path) -> tuple[int, float] | None:
    """Give nothing: FHI-aims has no pseudopotentials.

    Parameters
    ----------
    path : Path
        Any file.

    Returns
    -------
    None
        Always.
    """
    return None


def _first_species(text: str) -> tuple[str, list[str]]:
    """Give the name of the first species and the kinds of its functions, each once."""
    name, kinds, minimal = "", [], True
    for line in text.splitlines():
        words = line.partition("#")[0].split()
        if not words:
            continue
        keyword = words[0].lower()
        if keyword == "species" and len(words) > 1:
            if name:
                break
            name = words[1]
        elif name and keyword == "include_min_basis" and len(words) > 1:
            minimal = words[1].lower() not in (".false.", "f", "false")
        elif name and keyword in _KINDS and _KINDS[keyword] not in kinds:
            kinds.append(_KINDS[keyword])
    return name, [kind for kind in kinds if minimal or kind != "minimal"]
