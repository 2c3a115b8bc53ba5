"""Values that a training file may leave out and that follow from the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from deeph_spec.errors import InputError
from deeph_spec.orbitals import SHELL_LETTERS, shells_from_text

from deeph.config.describe import with_proposed
from deeph.config.irreps import largest_l, needed_l, proposed_irreps
from deeph.config.split import structure_counts
from deeph.config.training import TrainConfig


def resolve_training(
    config: TrainConfig, orbital_map: Mapping[str, Sequence[int]], spinful: bool, structures: int
) -> TrainConfig:
    """Fill in what was left to the data, and check what was given against the data.

    Doing it twice changes nothing.

    Parameters
    ----------
    config : TrainConfig
        The settings.
    orbital_map : mapping
        Shells of each element of the data.
    spinful : bool
        Whether the Hamiltonians carry spin.
    structures : int
        How many structures there are.

    Returns
    -------
    TrainConfig
        With net_irreps and train_size set.

    Raises
    ------
    InputError
        When net_irreps cannot express the Hamiltonian, common_orbital_types lacks shells, or the
        sizes do not fit the data.
    """
    proposed: dict[str, Any] = {}
    degree = needed_l(orbital_map, spinful)
    parity = config.model.advanced.consider_parity
    irreps = config.model.advanced.net_irreps
    if irreps is None:
        proposed["model.advanced.net_irreps"] = proposed_irreps(degree, parity)
    elif largest_l(irreps) < degree:
        raise InputError(
            f"model.advanced.net_irreps: {irreps} ends at l = {largest_l(irreps)}, but these "
            f"orbitals{' with spin' if spinful else ''} need l = {degree}; the smallest features "
            f"that work look like {proposed_irreps(degree, parity)}"
        )
    _check_common_shells(config.data.graph.common_orbital_types, orbital_map)
    loader = config.process.train.dataloader
    if loader.dataset_split_json is None:
        counts = structure_counts(loader, structures)
        if loader.train_size is None:
            proposed["process.train.dataloader.train_size"] = counts[0]
    return with_proposed(config, proposed)


def _check_common_shells(text: str, orbital_map: Mapping[str, Sequence[int]]) -> None:
    """Refuse common shells that lack a shell of an element."""
    if not text:
        return
    common = shells_from_text(text)
    for element, shells in orbital_map.items():
        for degree in set(shells):
            needed, there = list(shells).count(degree), common.count(degree)
            if needed > there:
                raise InputError(
                    f"data.graph.common_orbital_types: {text} has {there} "
                    f"{SHELL_LETTERS[degree]} shells but {element} has {needed}; "
                    "leave the key out to take the union of all elements"
                )
