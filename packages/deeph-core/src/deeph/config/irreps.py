"""Irreps in e3nn notation (``64x0e+32x1o``) and the ones proposed for a set of orbitals.

The targets of a Hamiltonian block between shells l1 and l2 are the irreps L = |l1-l2|..l1+l2;
spin-orbit coupling multiplies by an axial vector and adds one to the largest L.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

MAX_L = 13
_TERM = re.compile(r"(?:(\d+)x)?(\d+)([eo])")
_PROPOSED_CHANNELS = {
    "normal": (64, 32, 32, 16, 16, 8),
    "accurate": (64, 48, 32, 16, 16, 8),
}
"""Channels for l = 0, 1, ... and all beyond: within 2 and 8 million parameters for common bases."""


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


def target_irreps(
    orbital_map: Mapping[str, Iterable[int]], spin_orbit: bool
) -> tuple[tuple[int, int], ...]:
    """List the irreps that the blocks between all pairs of shells consist of.

    Shells l1 and l2 give L = |l1 - l2|..l1 + l2 of parity (-1)^(l1 + l2); spin-orbit coupling adds
    their products with an axial vector.

    Parameters
    ----------
    orbital_map : mapping
        Shells of each element.
    spin_orbit : bool
        Whether the matrices have spin-orbit coupling.

    Returns
    -------
    tuple of (l, parity)
        Ascending in l, even before odd.

    Notes
    -----
    Source: DeepH-pack, arXiv:2601.02938, section 3.2.2.
    """
    degrees = sorted({degree for shells in orbital_map.values() for degree in shells})
    found: set[tuple[int, int]] = set()
    for first in degrees:
        for second in degrees:
            for total in range(abs(first - second), first + second + 1):
                nearby = range(abs(total - 1), total + 2) if spin_orbit else ()
                found.update((n, (-1) ** (first + second)) for n in (total, *nearby))
    return tuple(sorted(found, key=lambda irrep: (irrep[0], -irrep[1])))


def missing_irreps(
    text: str, parity: bool, targets: Iterable[tuple[int, int]]
) -> tuple[tuple[int, int], ...]:
    """List the targets that features cannot express.

    Parameters
    ----------
    text : str
        Features in e3nn notation.
    parity : bool
        Whether the network is equivariant under inversion. Features that are then all of parity
        (-1)^l are completed by the network with the other ones, l by l.
    targets : iterable of (l, parity)
        See `target_irreps`.

    Returns
    -------
    tuple of (l, parity)
        Empty when the features suffice. Without inversion the parities are all even.
    """
    there = {(degree, sign if parity else 1) for _, degree, sign in parse_irreps(text)}
    if parity and all(sign == (-1) ** degree for degree, sign in there):
        scalars = sum(count for count, degree, _ in parse_irreps(text) if degree == 0)
        there |= {(n, -sign) for n, sign in there if n > 0 or scalars > 1}
    wanted = dict.fromkeys((n, sign if parity else 1) for n, sign in targets)
    return tuple(irrep for irrep in wanted if irrep not in there)


def irreps_text(irreps: Iterable[tuple[int, int]], channels: int = 1) -> str:
    """Write (l, parity) in e3nn notation, so many channels of each."""
    return "+".join(f"{channels}x{n}{'e' if sign > 0 else 'o'}" for n, sign in irreps)


def proposed_irreps(degree: int, parity: bool, net_type: str = "normal", width: float = 1) -> str:
    """Propose features whose channels decrease with l up to `degree`.

    Parameters
    ----------
    degree : int
        Largest l among the targets.
    parity : bool
        Whether the network is equivariant under inversion: then the parity is (-1)^l, otherwise
        all are written even.
    net_type : {"normal", "accurate"}
        The network.
    width : float
        Factor of all channels, which are rounded to even numbers.

    Returns
    -------
    str
        For example ``64x0e+32x1o+32x2e+16x3o+16x4e``.
    """
    channels = _PROPOSED_CHANNELS[net_type]
    last = len(channels) - 1
    counts = [max(2, 2 * round(width * channels[min(n, last)] / 2)) for n in range(degree + 1)]
    return "+".join(
        f"{count}x{n}{'o' if parity and n % 2 else 'e'}" for n, count in enumerate(counts)
    )
