"""Products, slices and joins of arrays whose derivatives are as fast as they are themselves.

Left to itself, the derivative of a slice is a padded array, of several slices a sum of such, and
that of a product of a stack with a matrix a transposed copy; each costs more than the product.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

Array = Any


def barrier(x: Array) -> Array:
    """Return x, computed once and stored, not anew in everything that uses it."""
    kept: Callable[[Array], Array] = jax.lax.optimization_barrier
    return kept(x)


@jax.custom_vjp
def product(x: Array, matrix: Array) -> Array:
    """Return x @ matrix for x (..., a) and a matrix (a, b)."""
    return (x.reshape(-1, x.shape[-1]) @ matrix).reshape(*x.shape[:-1], matrix.shape[1])


def _product_forward(x: Array, matrix: Array) -> tuple[Array, Any]:
    return product(x, matrix), (x, matrix)


def _product_backward(saved: Any, g: Array) -> tuple[Array, Array]:
    x, matrix = saved
    rows = barrier(g.reshape(-1, g.shape[-1]))
    by_matrix = jax.lax.dot_general(
        x.reshape(-1, x.shape[-1]), rows, dimension_numbers=(((0,), (0,)), ((), ()))
    )
    return (rows @ matrix.T).reshape(x.shape), by_matrix


product.defvjp(_product_forward, _product_backward)


def split(x: Array, sizes: Sequence[int], axis: int = -1) -> list[Array]:
    """Return consecutive parts of the given sizes along one axis."""
    return list(jax.lax.split(x, tuple(sizes), axis % x.ndim))


def endings(x: Array, starts: tuple[int, ...]) -> tuple[Array, ...]:
    """Return x[:, start:] for ascending starts."""
    return tuple(_endings(starts)(x))


def _endings(starts: tuple[int, ...]) -> Any:
    @jax.custom_vjp
    def taken(x: Array) -> tuple[Array, ...]:
        return tuple(x[:, start:] for start in starts)

    def forward(x: Array) -> tuple[tuple[Array, ...], Array]:
        return taken(x), x[:1]

    def backward(like: Array, gradients: tuple[Array, ...]) -> tuple[Array]:
        ends = [*starts[1:], like.shape[1]]
        count = gradients[0].shape[0] if gradients else 0
        parts = [jnp.zeros((count, starts[0]), like.dtype)]
        for k, (start, stop) in enumerate(zip(starts, ends, strict=True)):
            reached = zip(starts[: k + 1], gradients[: k + 1], strict=True)
            parts.append(sum(g[:, start - first : stop - first] for first, g in reached))
        return (jnp.concatenate(parts, axis=1),)

    taken.defvjp(forward, backward)
    return taken
