"""Steps that several subcommands of `dock generate` have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deeph_dock.cli.generate.options import matrix_of

if TYPE_CHECKING:
    from deeph_dock.cli.generate.making import Steps


def repeated(text: str | None, option: str = "--supercell") -> Steps:
    """Give the step that makes a supercell, if one is asked for.

    Parameters
    ----------
    text : str or None
        Value of the option.
    option : str
        Its name.

    Returns
    -------
    tuple of steps
    """
    from functools import partial

    from deeph_dock.structures.supercell import repeat

    return () if text is None else (("supercell", partial(repeat, matrix=matrix_of(text, option))),)


def perturbed(
    displacement: float,
    distribution: str,
    strain: float = 0.0,
    kind: str = "full",
    axis: int = 2,
) -> Steps:
    """Give the step that perturbs, if there is something to do.

    Parameters
    ----------
    displacement, distribution, strain, kind, axis
        Of `deeph_dock.structures.perturb.perturb`.

    Returns
    -------
    tuple of steps
    """
    from functools import partial

    from deeph_dock.structures.perturb import perturb

    if not (displacement or strain):
        return ()
    step = partial(
        perturb,
        displacement=displacement,
        distribution=distribution,
        strain=strain,
        kind=kind,
        axis=axis,
    )
    return (("perturb", step),)
