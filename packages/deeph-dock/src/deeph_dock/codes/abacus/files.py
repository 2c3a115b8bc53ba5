"""The files of a run of ABACUS: which there are, recognised by what they hold.

A run is a folder with INPUT, STRU and KPT, and in it ``OUT.<suffix>`` with the log and the csr
files; several ``OUT.*`` are several runs. A folder with csr files and a log is taken as well, also
an ``OUT.*`` itself; the input is then looked for in the folder above.

The names of csr files tell the spin channel where the head does not: ``data-HR-sparse_SPIN1.csr``
and ``hrs2_nao.csr`` hold spin down. They may have the number of a step: ``3_data-HR-..``,
``hrs1g3_nao.csr``.
Nothing here imports numpy.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from pathlib import Path

from deeph_spec.errors import InputError

from deeph_dock.codes.abacus.headers import HEAD, Kind, kind_of
from deeph_dock.codes.abacus.inputs import read_input

_OUT = "OUT."
_KINDS = ("scf", "relax", "cell-relax", "md", "get_s", "nscf")
_LOG = re.compile(r"running_([A-Za-z_-]+)\.log")
_SPIN = re.compile(r"_SPIN(\d)|^[a-z]+rs(\d)(?:g\d+)?_nao")
_KNOWN = ("H", "S", "DM", "r")


@dataclass(frozen=True)
class Files:
    """Files of one run; None or empty for those that are not there.

    Attributes
    ----------
    out : Path
        Folder of the output.
    overlap, position : Path or None
        csr files of S and r.
    hamiltonian, density : tuple of Path
        csr files of H and the density matrix, spin up first.
    log, stru, parameters, mesh : Path or None
        running_*.log, STRU, INPUT, KPT.
    geometries : tuple of Path
        Structures that the run wrote.
    trajectory : Path or None
        MD_dump.
    levels : tuple of Path
        istate.info, eig_occ.txt or eig.txt, and BANDS_*.dat.
    orbitals : Path or None
        The list of orbitals.
    """

    out: Path
    overlap: Path | None
    position: Path | None
    hamiltonian: tuple[Path, ...]
    density: tuple[Path, ...]
    log: Path | None
    stru: Path | None
    parameters: Path | None
    mesh: Path | None
    geometries: tuple[Path, ...]
    trajectory: Path | None
    levels: tuple[Path, ...]
    orbitals: Path | None

    def all(self) -> tuple[Path, ...]:
        """Give those that exist, without the folder."""
        found: list[Path] = []
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name != "out" and value is not None:
                found += value if isinstance(value, tuple) else (value,)
        return tuple(found)


def labels(folder: Path) -> tuple[str, ...]:
    """Give the suffix of each run in a folder, or "" for a folder that is an output itself.

    Parameters
    ----------
    folder : Path
        An existing folder.

    Returns
    -------
    tuple of str
        Sorted.
    """
    found = sorted(
        path.name.removeprefix(_OUT)
        for path in folder.iterdir()
        if path.name.startswith(_OUT)
        and len(path.name) > len(_OUT)
        and path.is_dir()
        and _is_output(path)
    )
    if found:
        return tuple(found)
    return ("",) if _is_output(folder) else ()


def output_folder(folder: Path, label: str) -> Path:
    """Give the folder of the output of a run.

    Parameters
    ----------
    folder : Path
        Folder of the run.
    label : str
        Its suffix; "" if the folder is the output itself.

    Returns
    -------
    Path
        The folder.
    """
    return folder / f"{_OUT}{label}" if label else folder


def find_files(folder: Path, label: str) -> Files:
    """Find the files of a run.

    Parameters
    ----------
    folder : Path
        Folder of the run.
    label : str
        Its suffix; "" if the folder is the output itself.

    Returns
    -------
    Files
        csr files of the latest step, where steps have files of their own.
    """
    out = output_folder(folder, label)
    above = folder if label else out.parent if out.name.startswith(_OUT) else out
    belongs = above == out or _belongs(above / "INPUT", out)
    if not label and not belongs:
        above, belongs = out, True
    parameters = _first(out / "INPUT", *([above / "INPUT"] if belongs else []))
    said = read_input(parameters) if parameters is not None else {}
    matrices = _matrices(out)
    return Files(
        out=out,
        overlap=matrices.get("S", (None,))[0],
        position=matrices.get("r", (None,))[0],
        hamiltonian=tuple(matrices.get("H", ())),
        density=tuple(matrices.get("DM", ())),
        log=_log(out, said.get("calculation", "")),
        stru=_first(above / Path(said.get("stru_file", "STRU")).name, above / "STRU"),
        parameters=parameters,
        mesh=_first(above / Path(said.get("kpoint_file", "KPT")).name) if belongs else None,
        geometries=tuple(
            path
            for path in (out / "STRU_ION_D", out / "STRU_FINAL", out / "STRU_NOW")
            if path.is_file()
        ),
        trajectory=_first(out / "MD_dump"),
        levels=tuple(
            path
            for name in ("istate.info", "eig_occ.txt", "eig.txt", "BANDS_1.dat", "BANDS_2.dat")
            if (path := out / name).is_file()
        ),
        orbitals=_first(out / "Orbital"),
    )


def _is_output(folder: Path) -> bool:
    """Tell whether a folder holds a csr file or the log of a run of ABACUS."""
    if any(kind.matrix in _KNOWN for _, kind in _csr_files(folder)):
        return True
    return any(b"ABACUS" in _head(path) for path in folder.iterdir() if _LOG.fullmatch(path.name))


def _csr_files(folder: Path) -> list[tuple[Path, Kind]]:
    """Give the csr files of a folder, and what each holds."""
    places = [folder, folder / "matrix"]
    found = []
    for place in places:
        if not place.is_dir():
            continue
        for path in sorted(place.iterdir()):
            if path.suffix == ".csr" and path.is_file():
                kind = kind_of(_head(path))
                if kind is not None:
                    found.append((path, kind))
    return found


def _matrices(out: Path) -> dict[str, list[Path]]:
    """Give the files of each matrix, by spin; of several steps the last."""
    best: dict[tuple[str, int], tuple[tuple[int, bool], Path]] = {}
    for path, (matrix, step, spin) in _csr_files(out):
        found = _SPIN.search(path.name)
        if spin is None and found is not None:
            spin = int(found[1]) if found[1] is not None else int(found[2]) - 1
        spin = spin or 0
        # SR.csr and sr_nao.csr of get_s may lie beside the overlap of the self-consistent run.
        rank = (step or 0, matrix != "S" or found is not None)
        key = (matrix, spin)
        if matrix in _KNOWN and key in best and best[key][0] == rank:
            raise InputError(
                f"{path}: {matrix}(R) of spin {spin + 1}, as {best[key][1].name} is: which belongs "
                "to the run cannot be known; keep one of them"
            )
        if key not in best or rank > best[key][0]:
            best[key] = (rank, path)
    result: dict[str, list[Path]] = {}
    for (matrix, _), (_, path) in sorted(best.items()):
        result.setdefault(matrix, []).append(path)
    return result


def _log(out: Path, calculation: str) -> Path | None:
    """Choose the log: that of the calculation in INPUT, or the first of the kinds that write H."""
    found = {}
    for path in sorted(out.iterdir()) if out.is_dir() else ():
        match = _LOG.fullmatch(path.name)
        if match is not None and path.is_file():
            found[match[1].lower()] = path
    wanted = calculation.split()[0].lower() if calculation else ""
    for kind in (wanted, *_KINDS, *found):
        if kind in found:
            return found[kind]
    return None


def _belongs(parameters: Path, out: Path) -> bool:
    """Tell whether an INPUT names the folder of an output."""
    if not parameters.is_file():
        return False
    return read_input(parameters).get("suffix", "ABACUS") == out.name.removeprefix(_OUT)


def _first(*paths: Path) -> Path | None:
    return next((path for path in paths if path.is_file()), None)


def _head(path: Path) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(HEAD)
    except OSError:
        return b""
