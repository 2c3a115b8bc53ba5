"""Muon: steps along the nearest orthogonal matrix of a momentum (Jordan et al. 2024).

The singular values of every step are brought to one by five Newton-Schulz iterations with Jordan's
quintic. `optax.contrib.muon` does it matrix by matrix; a network has some fifty small matrices,
for which that takes longer than the network itself on a small molecule. Here matrices are padded
to few shapes and iterated together. Zero rows and columns stay zero, so that padding is exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

Array = Any

_QUINTIC = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5
_TINY = 1e-15
"""Matrices below are rounding errors of zero. Far smaller, squares of 1e-20 would vanish in float32
and leave a norm of zero."""
_STEP = 32
"""Matrices are padded to multiples of it."""


def orthogonalised(matrices: Array) -> Array:
    """Return matrices (k, a, b), a <= b, with singular values near one (0.7 to 1.2)."""
    norm = jnp.sqrt(jnp.sum(matrices**2, axis=(1, 2), keepdims=True))
    x = matrices / (norm + _TINY)
    a, b, c = _QUINTIC
    for _ in range(_ITERATIONS):
        square = x @ x.swapaxes(1, 2)
        x = a * x + (b * square + c * (square @ square)) @ x
    return x


def scale_by_muon(momentum: float = 0.95) -> optax.GradientTransformation:
    """Return the transformation for trees of matrices (a, b) or stacks of such (..., a, b).

    Steps of a matrix that maps a to b > a numbers are multiplied by sqrt(b / a), so that they
    change what comes out by as much as those of a square one.
    """

    def init(parameters: Any) -> Any:
        return jax.tree.map(jnp.zeros_like, parameters)

    def update(gradients: Any, mean: Any, parameters: Any = None) -> tuple[Any, Any]:
        mean = jax.tree.map(lambda m, g: momentum * m + (1 - momentum) * g, mean, gradients)
        ahead = jax.tree.map(lambda m, g: momentum * m + (1 - momentum) * g, mean, gradients)
        leaves, structure = jax.tree.flatten(ahead)
        return jax.tree.unflatten(structure, _all_orthogonalised(leaves)), mean

    return optax.GradientTransformation(init, update)


def _all_orthogonalised(leaves: Sequence[Array]) -> list[Array]:
    """Return the orthogonalised and scaled steps of all matrices."""
    groups: dict[tuple[int, int], list[tuple[int, Array]]] = {}
    for index, leaf in enumerate(leaves):
        a, b = leaf.shape[-2:]
        stack = leaf.reshape(-1, a, b)
        stack = stack.swapaxes(1, 2) if a > b else stack
        shape = tuple(-(-size // _STEP) * _STEP for size in stack.shape[1:])
        room = [(0, 0), *((0, p - s) for p, s in zip(shape, stack.shape[1:], strict=True))]
        groups.setdefault((shape[0], shape[1]), []).append((index, jnp.pad(stack, room)))
    results: dict[int, Array] = {}
    for members in groups.values():
        done = orthogonalised(jnp.concatenate([stack for _, stack in members]))
        start = 0
        for index, stack in members:
            a, b = leaves[index].shape[-2:]
            part = done[start : start + len(stack), : min(a, b), : max(a, b)]
            start += len(stack)
            part = part.swapaxes(1, 2) if a > b else part
            results[index] = (part * max(1.0, b / a) ** 0.5).reshape(leaves[index].shape)
    return [results[index] for index in range(len(leaves))]


def is_matrix(path: tuple[Any, ...], leaf: Array) -> bool:
    """Return whether a parameter maps channels to channels: no vector, embedding or table."""
    name = str(getattr(path[-1], "key", path[-1]))
    return leaf.ndim >= 2 and min(leaf.shape[-2:]) > 1 and not name.startswith(_TABLES)


_TABLES = ("embedding", "element_scales", "scale", "bias", "vector")
"""How names begin of parameters that are no matrices even where a stack of them has two axes."""
