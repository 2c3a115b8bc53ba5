"""Irreps in e3nn notation (``64x0e+32x1o``) and the ones proposed for a set of orbitals.

The targets of a Hamiltonian block between shells l1 and l2 are the irreps L = |l1-l2|..l1+l2;
spin-orbit coupling multiplies by an axial vector and adds one to the largest L.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

MAX_L = 13
_TERM = re.compile(r"(?:(\d+)x)?(\d+)([eo])")
_PROPOSED_CHANNELS = (64, 32, 32, 16, 16, 8)


def parse_irreps(text: str) -> tuple[tuple[int, int, int], ...]:
    """Read irreps in e3nn notation.

    Parameters
    ----------
    text : str
        Terms ``<multiplicity>x<l><parity>`` joined by ``+``; the multiplicity may be left out.

    Returns
    -------
    tuple of (multiplicity, l, parity)
        In the order of the text; parity is +1 for ``e`` and -1 for ``o``.

    Raises
    ------
    ValueError
        When a term is not in the notation, has no channels, or l is above 13.
    """
    terms = []
    for part in text.replace(" ", "").split("+"):
        match = _TERM.fullmatch(part)
        if not match:
            raise ValueError(f'"{part}" is not an irrep such as 32x1o')
        multiplicity, degree = int(match[1] or 1), int(match[2])
        if multiplicity < 1 or degree > MAX_L:
            raise ValueError(f'"{part}" needs at least one channel and l at most {MAX_L}')
        terms.append((multiplicity, degree, 1 if match[3] == "e" else -1))
    return tuple(terms)


def largest_l(text: str) -> int:
    """Return the largest l of irreps in e3nn notation."""
    return max(degree for _, degree, _ in parse_irreps(text))


def needed_l(orbital_map: Mapping[str, Iterable[int]], spinful: bool) -> int:
    """Return the largest L among the targets: twice the largest orbital l, one more with spin.

    Source: DeepH-pack, arXiv:2601.02938, section 3.2.2.
    """
    return 2 * max(max(shells) for shells in orbital_map.values()) + int(spinful)


def proposed_irreps(degree: int, parity: bool) -> str:
    """Propose features whose channels decrease with l up to `degree`.

    Parameters
    ----------
    degree : int
        Largest l, see `needed_l`.
    parity : bool
        Whether the network is equivariant under inversion: then the parity is (-1)^l, otherwise
        all are written even.

    Returns
    -------
    str
        For example ``64x0e+32x1o+32x2e+16x3o+16x4e``.
    """
    last = len(_PROPOSED_CHANNELS) - 1
    return "+".join(
        f"{_PROPOSED_CHANNELS[min(n, last)]}x{n}{'o' if parity and n % 2 else 'e'}"
        for n in range(degree + 1)
    )
