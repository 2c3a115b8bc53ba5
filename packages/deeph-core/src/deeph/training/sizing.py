"""What fits, before a training starts: features within a number of parameters, and memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from deeph_spec.errors import InputError

from deeph.config import TrainConfig
from deeph.config.irreps import parse_irreps, proposed_irreps
from deeph.graphs import Shape
from deeph.networks import NETWORKS, NetworkSpecification
from deeph.networks.memory import SURELY, in_words, parameter_count, training_memory
from deeph.representation import BlockRepresentation

MOST_PARAMETERS = {"normal": 2_000_000, "accurate": 8_000_000}
"""Of the features that are proposed; more of them seldom pay."""

_WIDTHS = (1.0, 0.75, 0.5, 0.25, 0.125)


def fitting_irreps(
    net_type: str,
    orbital_map: Mapping[str, Sequence[int]],
    spin: str,
    blocks: int,
    heads: int,
    parity: bool = True,
) -> tuple[str, int]:
    """Return features that express the blocks within `MOST_PARAMETERS`.

    Parameters
    ----------
    net_type : str
        The network.
    orbital_map : mapping
        Shells of each element.
    spin : {"none", "collinear", "soc"}
    blocks, heads : int
        Rounds of message passing, attention heads.
    parity : bool
        Whether inversion symmetry is kept.

    Returns
    -------
    irreps : str
    parameters : int
        Of the network with these features, for non-magnetic systems.
    """
    representation = BlockRepresentation.of(orbital_map, spin, time_reversal=True)
    counts = representation.channels.counts(representation.l_max)
    for width in _WIDTHS:
        irreps = proposed_irreps(representation.l_max, parity, net_type, width)
        specification = NetworkSpecification(
            len(orbital_map), irreps, parity, blocks, 8.0, 20.0, *counts, *counts, heads
        )
        parameters = parameter_count(NETWORKS[net_type](specification))
        if parameters <= MOST_PARAMETERS.get(net_type, parameters):
            break
    return irreps, parameters


def check_memory(
    config: TrainConfig,
    name: str,
    specification: NetworkSpecification,
    parameters: int,
    shape: Shape,
    available: int | None,
) -> list[str]:
    """Estimate the memory of a training step and compare it with what there is.

    Parameters
    ----------
    config : TrainConfig
        Batch size, number type, whether blocks are recomputed.
    name, specification, parameters
        Of the network.
    shape : Shape
        The largest padded batch.
    available : int or None
        Bytes that are free; None: unknown.

    Returns
    -------
    list of str
        The estimate, and a warning when it is above what is free.

    Raises
    ------
    InputError
        When it certainly does not fit; the line says what would.
    """

    def needed(batch: int, remat: bool, spec: NetworkSpecification, count: int) -> float:
        memory = training_memory(name, spec, count, itemsize, remat, optimiser)
        nodes, edges = (-(-n * batch // shape.structures) for n in (shape.nodes, shape.edges))
        return memory.of(nodes, edges)

    itemsize = 8 if config.system.float_type == "fp64" else 4
    remat, optimiser = config.process.train.do_remat, config.process.train.optimizer.type
    need = needed(shape.structures, remat, specification, parameters)
    line = (
        f"A training step of {shape.nodes} atoms and {shape.edges} pairs needs about "
        f"{in_words(need)} of memory"
    )
    if available is None:
        return [line]
    if need <= available:
        return [f"{line}; {in_words(available)} are free"]

    def fitting() -> Iterator[str]:
        if not remat and needed(shape.structures, True, specification, parameters) <= available:
            yield "process.train.do_remat = true"
        for batch in range(shape.structures - 1, 0, -1):
            if needed(batch, remat, specification, parameters) <= available:
                yield f"process.train.dataloader.batch_size = {batch}"
                break
        for width in (2, 4, 8):
            irreps = narrower(specification.irreps, width)
            smaller = replace(specification, irreps=irreps)
            if needed(shape.structures, remat, smaller, parameters // width**2) <= available:
                yield f'model.advanced.net_irreps = "{irreps}"'
                break

    ways = list(fitting())
    what = f"what would fit: {' or '.join(ways)}" if ways else "use smaller structures"
    line = f"{line}, but {in_words(available)} are free; {what}"
    if need > SURELY * available:
        raise InputError(line)
    return [f"Warning: {line}"]


def narrower(irreps: str, factor: int) -> str:
    """Return irreps with so many times fewer channels, at least one of each."""
    return "+".join(
        f"{max(1, count // factor)}x{degree}{'e' if sign > 0 else 'o'}"
        for count, degree, sign in parse_irreps(irreps)
    )
