"""The bases of some elements: from folders of basis files, or a Gaussian basis set by name."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import cast

from deeph_spec.errors import InputError
from deeph_spec.orbitals import shells_to_text
from deeph_spec.structure import SYMBOLS

from deeph_dock.basis import READERS, AtomicBasis, BasisReader

_DEPTH = 3
_MOST_FILES = 20_000
_FORMS = (".ion", ".ion.xml", ".ion.nc")
"""One basis of SIESTA in three forms; the first that is there is read."""


@dataclass(frozen=True)
class Request:
    """Which bases.

    Attributes
    ----------
    sources : tuple of str
        Folders and files, or the name of one Gaussian basis set.
    quadrature : str
        "exact", or a code's own grid, see the readers.
    orbitals : tuple of str
        Names such as "Mo7.0-s3p2d1" of OpenMX, whose files hold more than one uses.
    """

    sources: tuple[str, ...]
    quadrature: str = "exact"
    orbitals: tuple[str, ...] = ()


def read_bases(request: Request, numbers: Iterable[int]) -> dict[int, AtomicBasis]:
    """Read the bases of some elements.

    Parameters
    ----------
    request : Request
        Where they are.
    numbers : iterable of int
        Atomic numbers.

    Returns
    -------
    dict of int to AtomicBasis
        Of exactly these elements, all of one code.

    Raises
    ------
    InputError
        If an element has none, or two; if a file is damaged; if there are bases of several codes.
    """
    wanted = sorted(set(numbers))
    if len(request.sources) == 1 and not os.path.lexists(request.sources[0]):
        return _by_name(request, wanted)
    files = list(_files(request.sources))
    code, found = _basis_files(request, files)
    reader = cast("BasisReader", import_module(READERS[code]))
    if code == "openmx":
        chosen, problems = _named(request, found, wanted)
    else:
        named = request.orbitals[0] if request.orbitals else None
        chosen, problems = _read_all(reader, found, request.quadrature, named)
    missing = [number for number in wanted if number not in chosen]
    if missing and problems:
        raise problems[0]
    if missing:
        there = ", ".join(SYMBOLS[number] for number in sorted(chosen)) or "none"
        raise InputError(
            f"{', '.join(request.sources)}: no basis of {_symbols(missing)}; there are those of "
            f"{there} ({code}): add the missing files ({reader.LOOKS_FOR})"
        )
    for number in wanted:
        if len(chosen[number]) > 1:
            twice = [basis.facts.get("orbitals", str(path)) for path, basis in chosen[number][:2]]
            names = " and ".join(twice)
            raise InputError(
                f"two bases of {SYMBOLS[number]}: {names}; name the files to use by --basis, or "
                "a folder with one of each element"
            )
    bases = {number: chosen[number][0][1] for number in wanted}
    others = [path for path in files if path not in set(found)]
    return {number: _with_core(reader, basis, others) for number, basis in bases.items()}


def named_like(
    request: Request, shells: Mapping[str, Sequence[int]], kept: object = None
) -> tuple[str, ...]:
    """Name the orbitals of OpenMX's files that a dataset has.

    Parameters
    ----------
    request : Request
        Where the files are.
    shells : mapping
        The l of every shell, by element.
    kept : object
        ``provenance.basis`` of the dataset: names by element, if a conversion kept them.

    Returns
    -------
    tuple of str
        Such as "Mo7.0-s3p2d1": those that were kept, otherwise by the shells, without elements of
        which there are several files; empty for files that need no names.
    """
    if len(request.sources) == 1 and not os.path.lexists(request.sources[0]):
        return ()
    code, found = _basis_files(request, list(_files(request.sources)))
    if code != "openmx":
        return ()
    named = [kept.get(symbol) if isinstance(kept, dict) else None for symbol in shells]
    if all(isinstance(name, str) and "-" in name for name in named):
        return tuple(map(str, named))
    names = []
    for symbol, degrees in shells.items():
        ours = [path.stem for path in found if _is_of(symbol, path.stem)]
        if len(ours) == 1:
            names.append(f"{ours[0]}-{shells_to_text(degrees)}")
    return tuple(names)


def _by_name(request: Request, wanted: Sequence[int]) -> dict[int, AtomicBasis]:
    """Take a Gaussian basis set."""
    (name,) = request.sources
    if os.sep in name:
        raise InputError(f"{name}: no such file or folder; expected one with basis files")
    from deeph_dock.basis.gaussian import gaussian_basis

    try:
        bases = {number: gaussian_basis(name, number) for number in wanted}
    except InputError as error:
        raise InputError(
            f"{name}: no such file or folder, and as a Gaussian basis set: {error}"
        ) from error
    if request.orbitals:
        raise InputError(f"orbitals '{request.orbitals[0]}': Gaussian basis sets have no choice")
    if request.quadrature != "exact":
        raise InputError(
            f"quadrature '{request.quadrature}': Gaussians are integrated exactly; expected exact"
        )
    return bases


def _files(sources: Sequence[str]) -> Iterator[Path]:
    """Yield all files, folders searched three levels deep."""
    count = 0
    for source in map(Path, sources):
        if not source.exists():
            raise InputError(f"{source}: no such file or folder; expected one with basis files")
        if source.is_file():
            yield source
            continue
        top = len(source.parts)
        for folder, inner, names in os.walk(source):
            inner[:] = sorted(name for name in inner if name[0] not in "._")
            if len(Path(folder).parts) - top >= _DEPTH - 1:
                inner.clear()
            for name in sorted(names):
                count += 1
                if count > _MOST_FILES:
                    raise InputError(
                        f"{source}: more than {_MOST_FILES} files; name the folder of the bases"
                    )
                if name[0] != ".":
                    yield Path(folder, name)


def _basis_files(request: Request, files: Sequence[Path]) -> tuple[str, list[Path]]:
    """Tell of which code the basis files are."""
    found: dict[str, list[Path]] = {}
    for code, module in READERS.items():
        reader = cast("BasisReader", import_module(module))
        ours = [path for path in files if reader.recognises(path)]
        if ours:
            found[code] = ours
    where = ", ".join(request.sources)
    if not found:
        known = "; ".join(
            f"{code}: {cast('BasisReader', import_module(module)).LOOKS_FOR}"
            for code, module in READERS.items()
        )
        raise InputError(f"{where}: no basis files among {len(files)} files; known are {known}")
    if len(found) > 1:
        shown = ", ".join(f"{code} ({paths[0].name})" for code, paths in found.items())
        raise InputError(
            f"{where}: basis files of several codes: {shown}; name the files of one of them"
        )
    ((code, paths),) = found.items()
    return code, _one_form(paths)


def _one_form(paths: Sequence[Path]) -> list[Path]:
    """Keep one of the forms of each basis of SIESTA."""
    kept: dict[tuple[Path, str], tuple[int, Path]] = {}
    for path in paths:
        form = next((form for form in reversed(_FORMS) if path.name.endswith(form)), "")
        rank = _FORMS.index(form) if form else 0
        stem = path.name.removesuffix(form) if form else path.name
        best = kept.get((path.parent, stem))
        if best is None or rank < best[0]:
            kept[path.parent, stem] = (rank, path)
    return [path for _, path in kept.values()]


Read = dict[int, list[tuple[Path, AtomicBasis]]]


def _read_all(
    reader: BasisReader, paths: Sequence[Path], quadrature: str, orbitals: str | None
) -> tuple[Read, list[InputError]]:
    """Read every file; a damaged one matters only if its element is wanted."""
    chosen: Read = {}
    problems: list[InputError] = []
    for path in paths:
        try:
            basis = reader.read(path, quadrature, orbitals)
        except InputError as error:
            problems.append(error)
        else:
            chosen.setdefault(basis.number, []).append((path, basis))
    return chosen, problems


def _named(
    request: Request, paths: Sequence[Path], wanted: Sequence[int]
) -> tuple[Read, list[InputError]]:
    """Read the files that the names of orbitals belong to."""
    from deeph_dock.basis.openmx import parse_orbitals, read

    chosen: Read = {}
    for text in request.orbitals:
        name = parse_orbitals(text)
        ours = [path for path in paths if path.stem == name.pao]
        if not ours:
            there = ", ".join(sorted({path.name for path in paths})[:8])
            raise InputError(f"orbitals '{text}': no {name.pao}.pao; there are {there}")
        for path in ours:
            basis = read(path, request.quadrature, text)
            chosen.setdefault(basis.number, []).append((path, basis))
    missing = [number for number in wanted if number not in chosen]
    if not missing:
        return chosen, []
    stems = sorted(path.stem for path in paths)
    known = [[stem for stem in stems if _is_of(SYMBOLS[number], stem)] for number in missing]
    if not all(known):
        bare = [number for number, names in zip(missing, known, strict=True) if not names]
        there = ", ".join(f"{stem}.pao" for stem in stems[:8])
        return chosen, [InputError(f"no .pao of {_symbols(bare)}; there are {there}")]
    example = known[0][0]
    problem = InputError(
        f"no orbitals named for {_symbols(missing)}: files of OpenMX hold more than one uses; "
        f"name them as in Definition.of.Atomic.Species, e.g. --orbitals {example}-s2p2d1"
    )
    return chosen, [problem]


def _is_of(symbol: str, stem: str) -> bool:
    """Tell whether the name of a .pao begins with an element: C6.0 is one of carbon, Cr6.0 not."""
    return re.match(rf"{symbol}(?![a-z])", stem) is not None


def _with_core(reader: BasisReader, basis: AtomicBasis, others: Sequence[Path]) -> AtomicBasis:
    """Add what a pseudopotential beside it says, if the basis does not say it."""
    if basis.valence is not None:
        return basis
    charges: dict[float, list[Path]] = {}
    damaged: list[InputError] = []
    for path in others:
        try:
            found = reader.valence(path)
        except InputError as error:
            damaged.append(error)
            continue
        if found is not None and found[0] == basis.number:
            charges.setdefault(found[1], []).append(path)
    if not charges and damaged:
        raise damaged[0]
    if len(charges) != 1:
        return basis
    ((charge, paths),) = charges.items()
    facts = basis.facts | {"pseudopotential": paths[0].name}
    reach = basis.projector_reach if basis.code != "abacus" else _common_reach(paths)
    return replace(basis, valence=charge, projector_reach=reach, facts=facts)


def _common_reach(paths: Sequence[Path]) -> float:
    """Give the reach of the projectors of pseudopotentials of one element."""
    from deeph_dock.basis.upf import read

    reaches = {path: read(path).projector_reach for path in paths}
    first, *others = paths
    for other in others:
        if reaches[other] != reaches[first]:
            raise InputError(
                f"two pseudopotentials of one element: {first} and {other}, whose projectors reach "
                f"{reaches[first]:.3f} and {reaches[other]:.3f} Å; name the one to use by --basis"
            )
    return reaches[first]


def _symbols(numbers: Iterable[int]) -> str:
    return ", ".join(SYMBOLS[number] for number in numbers)
