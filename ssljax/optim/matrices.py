"""Which axes of a weight are a matrix: for rules that multiply and rotate matrices.

Axes count from the last. Those in front (layers; query, key and value) are separate matrices.
"""

import math
from typing import NamedTuple

import jax

from ssljax.core.tree import leaf_name
from ssljax.core.types import PyTree


class Matrix(NamedTuple):
    """The axes that a product sums over, and those it produces, both counted from the last."""

    rows: tuple[int, ...]
    columns: tuple[int, ...]


# Heads are one matrix together, as in Jordan et al. 2024.
HEADS = {"w_qkv": Matrix((-4,), (-2, -1)), "w_out": Matrix((-3, -2), (-1,))}
PLAIN = Matrix((-2,), (-1,))
# The hidden weights of the blocks and of experts; not embeddings, heads, norms and biases.
HIDDEN = r"w_(qkv|out|gate|up|down)(_e)?"


def matrix_of(path: PyTree) -> Matrix:
    """Return the axes of the weight at a pytree path."""
    return HEADS.get(leaf_name(path), PLAIN)


def to_matrix(x: jax.Array, matrix: Matrix) -> jax.Array:
    """Return x as [..., rows, columns], the separate matrices in front."""
    x = x.transpose(order(x.ndim, matrix))
    lead = x.shape[:x.ndim - len(matrix.rows) - len(matrix.columns)]
    rows = x.shape[len(lead):len(lead) + len(matrix.rows)]
    columns = x.shape[len(lead) + len(rows):]
    return x.reshape(*lead, math.prod(rows), math.prod(columns))


def from_matrix(x: jax.Array, matrix: Matrix, shape: tuple[int, ...]) -> jax.Array:
    """Return [..., rows, columns] as a weight of `shape`; the inverse of `to_matrix`."""
    axes = order(len(shape), matrix)
    x = x.reshape(tuple(shape[a] for a in axes))
    return x.transpose(tuple(axes.index(a) for a in range(len(shape))))


def order(ndim: int, matrix: Matrix) -> tuple[int, ...]:
    """Return the axes of a weight with those of its matrix last."""
    last = tuple(ndim + a for a in (*matrix.rows, *matrix.columns))
    return (*(a for a in range(ndim) if a not in last), *last)
