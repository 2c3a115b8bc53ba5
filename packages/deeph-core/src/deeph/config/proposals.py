"""Values that a training file may leave out and that follow from the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from deeph_spec.errors import InputError
from deeph_spec.orbitals import SHELL_LETTERS, shells_from_text

from deeph.config.describe import with_proposed
from deeph.config.irreps import irreps_text, missing_irreps, proposed_irreps
from deeph.config.split import structure_counts
from deeph.config.training import TrainConfig


def resolve_training(
    config: TrainConfig,
    irreps: Sequence[tuple[int, int]],
    orbital_map: Mapping[str, Sequence[int]],
    structures: int,
) -> TrainConfig:
    """Fill in what was left to the data, and check what was given against the data.

    Doing it twice changes nothing.

    Parameters
    ----------
    config : TrainConfig
        The settings.
    irreps : sequence of (l, parity)
        What the target consists of.
    orbital_map : mapping
        Shells of each element of the data.
    structures : int
        How many structures there are.

    Returns
    -------
    TrainConfig
        With net_irreps and train_size set.

    Raises
    ------
    InputError
        When net_irreps cannot express the target, common_orbital_types lacks shells, or the
        sizes do not fit the data.
    """
    proposed: dict[str, Any] = {}
    _check_common_shells(config.data.graph.common_orbital_types, orbital_map)
    parity, net_type = config.model.advanced.consider_parity, config.model.net_type
    if config.model.advanced.net_irreps is None:
        degree = max((n for n, _ in irreps), default=0)
        proposed["model.advanced.net_irreps"] = proposed_irreps(degree, parity, net_type)
    else:
        _check_irreps(config.model.advanced.net_irreps, parity, irreps, net_type)
    loader = config.process.train.dataloader
    if loader.dataset_split_json is None:
        counts = structure_counts(loader, structures)
        if loader.train_size is None:
            proposed["process.train.dataloader.train_size"] = counts[0]
    return with_proposed(config, proposed)


def _check_irreps(
    irreps: str, parity: bool, targets: Sequence[tuple[int, int]], net_type: str
) -> None:
    """Refuse features that cannot express a part of the target."""
    missing = missing_irreps(irreps, parity, targets)
    if not missing:
        return
    if parity and not missing_irreps(irreps, False, targets):
        hint = "write the parities, or set model.advanced.consider_parity = false"
    else:
        wide = proposed_irreps(max(n for n, _ in targets), parity, net_type)
        hint = f"more channels learn better, e.g. {wide}"
    lacking = ", ".join(irreps_text([irrep])[2:] for irrep in missing)
    every = targets if parity else dict.fromkeys((n, 1) for n, _ in targets)
    raise InputError(
        f"model.advanced.net_irreps: {irreps} cannot express all that these data contain: "
        f"{lacking} {'is' if len(missing) == 1 else 'are'} missing; the smallest features that can "
        f"are {irreps_text(every)} ({hint})"
    )


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
