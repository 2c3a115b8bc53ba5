"""What OpenMX printed: version, convergence, steps, Fermi level, electrons, final positions.

The output starts with a banner and a copy of the input. Each step of a relaxation or dynamics has
its "SCF history at MD=n" with NormRD and Uele of each iteration. OpenMX does not say whether it
converged: it stops when Uele changes by less than scf.criterion (DFT.c), or after scf.maxIter
iterations, so the last two Uele tell.
"""

from __future__ import annotations

import mmap
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from deeph_spec.errors import InputError
from numpy.typing import NDArray

from deeph_dock.codes.openmx.inputs import Input, parse_input

Float = NDArray[np.float64]

_INPUT = 2**25
_HISTORY = b"SCF history at MD="
_AFTER = 2**22
_PRINTED = 2e-12
"""Rounding of the difference of two Uele with twelve decimals."""
_VERSION = re.compile(rb"performed by OpenMX Ver\.[ \t]*(\S[^\r\n]*)")
_STEP = re.compile(rb"SCF history at MD=[ \t]*(\d+)")
_ITERATION = re.compile(
    rb"SCF=[ \t]*(\d+)[ \t]+NormRD=[ \t]*(\S+)[ \t]+Uele=[ \t]*(\S+)[^\r\n]*$", re.M
)
_LEVEL = re.compile(rb"^[ \t]*Chemical potential \(Hartree\)[ \t]+(\S+)", re.M)
_STATES = re.compile(rb"Number of States[ \t]*=[ \t]*(\S+)")


@dataclass(frozen=True, eq=False)
class Output:
    """Facts from one output; None where it does not say.

    Attributes
    ----------
    path : Path
    start : int
        Byte where it starts in the file.
    version : str or None
    input : Input
        The copy of the input.
    steps : int
        Number of the last step of a relaxation or dynamics; 1 if atoms do not move.
    iterations : int
        Iterations of the last step.
    change : float or None
        Last change of Uele, Hartree.
    fermi_level : float or None
        Hartree.
    electrons : float or None
    fractions : (n, 3) array or None
        Fractional coordinates of the final structure.
    """

    path: Path
    start: int
    version: str | None
    input: Input
    steps: int
    iterations: int
    change: float | None
    fermi_level: float | None
    electrons: float | None
    fractions: Float | None

    def unconverged(self) -> str:
        """Say why the last step did not converge; empty if it did."""
        criterion = (self.input.numbers("scf.criterion") or [1e-6])[0]
        if self.change is None:
            return f"{self.path.name} tells of {self.iterations} self-consistency iterations"
        if self.change <= criterion + _PRINTED:
            return ""
        return (
            f"{self.path.name}: not converged after {self.iterations} iterations, Uele changed by "
            f"{self.change:.1e} > {criterion:.1e} Hartree"
        )


def read_output(path: Path, start: int = 0) -> Output:
    """Read the facts of an output.

    Parameters
    ----------
    path : Path
        The file, not empty.
    start : int
        Byte where the output starts, in a file that begins with something else.

    Returns
    -------
    Output
        What it says.

    Raises
    ------
    InputError
        If it holds no copy of the input.
    """
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
        first = text.find(_HISTORY, start)
        last = text.rfind(_HISTORY, start)
        head = text[start : min(first if first >= 0 else len(text), start + _INPUT)]
        version = _VERSION.search(head)
        copy = parse_input(head.decode("utf-8", "replace"), str(path))
        if not copy.lists:
            raise InputError(
                f"{path}: no copy of the input; the output was cut or is damaged, copy it again"
            )
        after = text[last : last + _AFTER] if last >= 0 else b""
        step = _STEP.match(after)
        uele = [_float(found[2]) for found in _ITERATION.findall(after)]
        change = None
        if len(uele) > 1 and uele[-1] is not None and uele[-2] is not None:
            change = abs(uele[-1] - uele[-2])
        level, states = _LEVEL.search(after), _STATES.search(after)
        return Output(
            path,
            start,
            version=version.group(1).strip().decode("ascii", "replace") if version else None,
            input=copy,
            steps=int(step.group(1)[:9]) if step else 0,
            iterations=len(uele),
            change=change,
            fermi_level=_float(level.group(1)) if level else None,
            electrons=_float(states.group(1)) if states else None,
            fractions=_final_fractions(text, start),
        )


def _final_fractions(text: mmap.mmap, start: int) -> Float | None:
    """Read the fractional coordinates of the final structure."""
    at = text.rfind(b"Fractional coordinates of the final structure", start)
    if at < 0:
        return None
    section = text[at : text.find(b"***", text.find(b"\n\n", at) + 2)]
    rows = []
    for line in section.splitlines()[1:]:
        words = line.split()
        values = [_float(word) for word in words[2:5]]
        if len(values) == 3 and None not in values:
            rows.append(values)
    return np.array(rows, dtype=np.float64).reshape(-1, 3) if rows else None


def _float(word: bytes) -> float | None:
    """Read a finite number."""
    try:
        value = float(word)
    except ValueError:
        return None
    return value if np.isfinite(value) else None
