"""INPUT and KPT: the parameters of a run."""

from __future__ import annotations

from pathlib import Path

WIDTH = 0.015
"""Smearing in Ry where INPUT does not say."""


def read_input(path: Path) -> dict[str, str]:
    """Read an INPUT file.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    dict
        Value of each parameter, which is in small letters, without comments.
    """
    found: dict[str, str] = {}
    for line in path.read_text("utf-8", errors="replace").splitlines():
        words = line.split("#")[0].split("//")[0].split(maxsplit=1)
        if len(words) == 2:
            found[words[0].lower()] = words[1].strip()
    return found


def number(parameters: dict[str, str], name: str) -> float | None:
    """Give a parameter that is a number.

    Parameters
    ----------
    parameters : dict
        From `read_input`.
    name : str
        In small letters.

    Returns
    -------
    float or None
        None if it is not there, or is no finite number.
    """
    words = parameters.get(name, "").split()
    try:
        value = float(words[0]) if words else None
    except ValueError:
        return None
    return value if value is not None and abs(value) < 1e12 else None


def read_mesh(path: Path) -> tuple[tuple[int, int, int], tuple[float, float, float]] | None:
    """Read the k-mesh of a KPT file.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    divisions : tuple of int
        Along the reciprocal lattice vectors.
    shift : tuple of float
        Of the first point from Gamma, in steps of the mesh.
    Or None for a list of points.
    """
    lines = [
        line.split("#")[0].split("//")[0].split()
        for line in path.read_text("utf-8", errors="replace").splitlines()
    ]
    lines = [words for words in lines if words]
    if len(lines) < 4 or lines[1][0] != "0" or lines[2][0] not in ("Gamma", "MP"):
        return None
    try:
        n1, n2, n3 = (int(word) for word in lines[3][:3])
        given = [float(word) for word in lines[3][3:6]]
    except ValueError:
        return None
    if not all(1 <= n <= 10**4 for n in (n1, n2, n3)):
        return None
    shift = [*given, 0.0, 0.0, 0.0][:3]
    if lines[2][0] == "MP":  # centred about Gamma: an even mesh avoids it
        shift = [s + (0.5 if n % 2 == 0 else 0.0) for s, n in zip(shift, (n1, n2, n3), strict=True)]
    return (n1, n2, n3), (shift[0], shift[1], shift[2])
