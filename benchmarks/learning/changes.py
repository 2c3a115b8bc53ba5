"""What the accuracy rests on: trainings with one thing left out or changed.

A change is settings that differ, or another way of fitting the baseline. The program has no
switches for the second kind: the fit is wrapped here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any
from unittest import mock

import numpy as np

Fit = Callable[[Any, Any, Any, Any], Any]
"""From graphs, irreps on site, irreps of edges, representation to a baseline."""


@dataclass(frozen=True)
class Change:
    """One difference from the defaults.

    Attributes
    ----------
    note : str
    settings : tuple of str
        ``key=value``.
    fit : function or None
        From the program's fit of the baseline to another one.
    paired : bool
        Whether a pair and its reverse are averaged in training.
    networks : tuple of str
        That it makes sense for.
    equal_widths : bool
        Whether every irrep gets the same number of channels.
    """

    note: str
    settings: tuple[str, ...] = ()
    fit: Callable[[Fit], Fit] | None = None
    paired: bool = True
    networks: tuple[str, ...] = ("normal", "accurate")
    equal_widths: bool = False


def _mirrored(nodes: bool, edges: bool) -> Callable[[Fit], Fit]:
    """Let every structure enter the fit twice, with its labels and with their negatives.

    Means then vanish, and scales are those of the labels themselves.
    """

    def wrapped(fit: Fit) -> Fit:
        def fitted(sources: Any, on_site: Any, off_site: Any, representation: Any) -> Any:
            def twice(labels: Sequence[Any], change: bool) -> list[Any]:
                return [sign * part for part in labels for sign in (1, -1 if change else 1)]

            doubled = [source for source in sources for _ in range(2)]
            return fit(doubled, twice(on_site, nodes), twice(off_site, edges), representation)

        return fitted

    return wrapped


def _without_scales(fit: Fit) -> Fit:
    """Give all numbers one scale: the root mean square of what the means leave."""

    def fitted(sources: Any, on_site: Any, off_site: Any, representation: Any) -> Any:
        baseline = fit(sources, on_site, off_site, representation)
        total, count = 0.0, 0
        for source, *labels in zip(sources, on_site, off_site, strict=True):
            means = (
                baseline.nodes(source, representation)[0],
                baseline.edges(source, representation)[0],
            )
            for label, mean in zip(labels, means, strict=True):
                total, count = total + float(np.sum((label - mean) ** 2)), count + label.size
        one = (total / count) ** 0.5
        return replace(
            baseline,
            edge_log_scale={k: np.zeros_like(v) for k, v in baseline.edge_log_scale.items()},
            edge_scale_range={
                k: np.full_like(v, one) for k, v in baseline.edge_scale_range.items()
            },
            node_scale=np.full_like(baseline.node_scale, one),
        )

    return fitted


def _without_surroundings(fit: Fit) -> Fit:
    """Fit no three-centre terms."""

    def fitted(*arguments: Any) -> Any:
        from deeph.targets import baseline

        with mock.patch.object(baseline, "fit_surroundings", return_value=None):
            return fit(*arguments)

    return fitted


CHANGES = {
    "": Change("the defaults"),
    "no-surroundings": Change("no three-centre terms", fit=_without_surroundings),
    "no-edge-mean": Change("no two-centre mean", fit=_mirrored(nodes=False, edges=True)),
    "no-means": Change("no means at all", fit=_mirrored(nodes=True, edges=True)),
    "no-scales": Change("one scale for everything", fit=_without_scales),
    "exponent-0": Change("loss in units of the scales", ("loss_scale_exponent=0.0",)),
    "exponent-1": Change("loss in eV", ("loss_scale_exponent=1.0",)),
    "adam": Change(
        "Adam instead of Muon", ("optimizer.type=adam", "optimizer.init_learning_rate=0.002")
    ),
    "ema": Change("running mean of the parameters", ("optimizer.ema_decay=0.99",)),
    "no-parity": Change("no inversion symmetry", ("consider_parity=false",)),
    "no-pairing": Change("pairs and their reverses apart in training", paired=False),
    "equal-widths": Change("as many channels of every irrep", equal_widths=True),
    "one-head": Change("one attention head", ("num_heads=1",), networks=("accurate",)),
    "four-heads": Change("four attention heads", ("num_heads=4",), networks=("accurate",)),
}
"""By the name given to ``--ablate``."""


@contextmanager
def applied(change: Change) -> Iterator[None]:
    """Let the program train with a change of its baseline or pairing."""
    from deeph.targets import matrices

    fit = (change.fit or _same)(matrices.fit_baseline)
    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(matrices, "fit_baseline", fit))
        if not change.paired:
            target = matrices.MatrixTarget
            stack.enter_context(
                mock.patch.object(target, "paired", lambda self, graph, *result: result)
            )
        yield


def _same(fit: Fit) -> Fit:
    return fit


def equal_widths(irreps: str) -> str:
    """Give every irrep as many channels, so that the matrices of M hold about as many numbers."""
    import e3nn_jax

    parsed = e3nn_jax.Irreps(irreps)

    def numbers(counts: Sequence[int]) -> float:
        degrees = [irrep.ir.l for irrep in parsed]
        total = 0.0
        for m in range(parsed.lmax + 1):
            reached = sum(n for n, l in zip(counts, degrees, strict=True) if l >= m)
            total += (1 if m == 0 else 2) * reached**2
        return total

    width = (numbers([i.mul for i in parsed]) / numbers([1] * len(parsed))) ** 0.5
    return "+".join(f"{max(1, round(width))}x{irrep.ir}" for irrep in parsed)
