"""How many structures train, validate and test: numbers, fractions and the rest."""

from __future__ import annotations

from deeph_spec.errors import InputError

from deeph.config.process import TrainLoader


def structure_counts(loader: TrainLoader, available: int) -> tuple[int, int, int]:
    """Turn the sizes of a training file into numbers of structures.

    Parameters
    ----------
    loader : TrainLoader
        ``process.train.dataloader``: each size is a number of structures or, when it is written
        as a fraction below 1, a part of `available` (rounded). An absent train_size is what the
        other two leave.
    available : int
        Structures there are.

    Returns
    -------
    tuple of int
        Numbers to train on, to validate on, to test on.

    Raises
    ------
    InputError
        When they add up to more than there are, or leave nothing to train on.
    """

    def count(size: int | float) -> int:
        return size if isinstance(size, int) else round(size * available)

    validate, test = count(loader.validate_size), count(loader.test_size)
    train = available - validate - test if loader.train_size is None else count(loader.train_size)
    sizes = f"{train} to train, {validate} to validate, {test} to test"
    if loader.train_size is not None and train + validate + test > available >= 1:
        # Rounded fractions that add up to one may ask for one structure too many.
        fractions = (loader.train_size, loader.validate_size, loader.test_size)
        if all(isinstance(size, float) for size in fractions):
            train = available - validate - test
        else:
            raise InputError(
                f"process.train.dataloader: the sizes ask for {train + validate + test} structures "
                f"({sizes}) but there are {available}; make them smaller, or leave train_size out"
            )
    if train < 1:
        raise InputError(
            f"process.train.dataloader: of {available} structures none is left to train on "
            f"({sizes}); make validate_size and test_size smaller"
        )
    return train, validate, test
