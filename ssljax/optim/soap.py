"""SOAP, Adam in the eigenbasis of Shampoo, Vyas et al. 2024, https://arxiv.org/abs/2409.11321.

Algorithm 3, on each matrix G [m, n] of a weight, with L and R the running means of G Gᵀ and Gᵀ G
and Q_L and Q_R their eigenvectors: Adam's second moment and quotient are taken of Q_Lᵀ G Q_R, and
the quotient is rotated back. Every few steps one orthogonal iteration follows the eigenvectors
(algorithm 4). As in the authors' code, the first gradient sets the bases and moves no weight.

One thing differs: the first bases come from orthogonal iterations of L + SHIFT |L| as well, not
from an eigendecomposition. A first L of m > n has a null space whose eigenvectors are any: rounding
would choose them, and two meshes would train two networks.
"""

import functools
import re
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from ssljax.core.local import local
from ssljax.core.sharding import automatic
from ssljax.core.tree import leaf_name
from ssljax.core.types import PyTree
from ssljax.optim.matrices import HIDDEN, Matrix, from_matrix, matrix_of, to_matrix
from ssljax.optim.steps import NO_DECAY, decay_and_descend

TINY = {"lr": 1e-2, "every": 2}
# Of the identity, as a share of the matrix's norm: rounding (6e-8) moves the basis of a null space
# by rounding / SHIFT at most, while eigenvectors stay what they are.
SHIFT = 1e-4
FIRST_ITERATIONS = 8
ABSENT = optax.MaskedNode()       # the side of a weight that is not rotated

# Bases lose their orthogonality in bfloat16 passes.
product = functools.partial(jnp.einsum, precision=jax.lax.Precision.HIGHEST)


class SoapState(NamedTuple):
    """Trees of the parameters' structure; `mu` and `nu` of their shapes, `nu` in the eigenbasis.

    left, right: L [..., m, m] and R [..., n, n]; ABSENT for weights that are no matrices
    left_basis, right_basis: the eigenvectors Q_L, Q_R as columns
    """

    count: jax.Array
    mu: PyTree
    nu: PyTree
    left: PyTree
    right: PyTree
    left_basis: PyTree
    right_basis: PyTree


def make(schedule: optax.Schedule, *, lr: float, b1: float = 0.95, b2: float = 0.95,
         eps: float = 1e-8, every: int = 10, weight_decay: float = 0.0,
         no_decay: str = NO_DECAY, matrices: str = HIDDEN, max_side: int = 10_000,
         ) -> optax.GradientTransformation:
    """Return the rule.

    Args:
        schedule: step -> fraction of lr.
        lr: peak learning rate; AdamW's carry over.
        b1: decay of the gradient's mean.
        b2: decay of the gradient's square and of L and R.
        eps: added to the root of the second moment.
        every: steps between orthogonal iterations.
        weight_decay: decoupled, multiplied by the learning rate.
        no_decay: names of weights that are not decayed, a regular expression.
        matrices: weights whose name matches this whole regular expression are rotated; the
            others follow Adam.
        max_side: longer sides of a matrix are not rotated.
    """
    return optax.chain(scale_by_soap(b1, b2, eps, every, matrices, max_side),
                       decay_and_descend(schedule, lr, weight_decay, no_decay))


def scale_by_soap(b1: float, b2: float, eps: float, every: int, matrices: str,
                  max_side: int) -> optax.GradientTransformation:
    """Return SOAP's direction; the arguments are those of `make`."""
    def sides(params: PyTree, axis: int) -> PyTree:
        """Return a zero [..., side, side] of every matrix; axis -2 for rows, -1 for columns."""
        def one(path: tuple[Any, ...], leaf: jax.Array) -> Any:
            if re.fullmatch(matrices, leaf_name(path)) is None:
                return ABSENT
            shape = jax.eval_shape(functools.partial(to_matrix, matrix=matrix_of(path)), leaf).shape
            side = shape[axis]
            return jnp.zeros((*shape[:-2], side, side)) if side <= max_side else ABSENT

        return jax.tree_util.tree_map_with_path(one, params)

    def init(params: PyTree) -> SoapState:
        return SoapState(jnp.zeros([], jnp.int32), jax.tree.map(jnp.zeros_like, params),
                         jax.tree.map(jnp.zeros_like, params), sides(params, -2),
                         sides(params, -1), sides(params, -2), sides(params, -1))

    def update(grads: PyTree, state: SoapState, params: PyTree = None,
               ) -> tuple[PyTree, SoapState]:
        del params
        t = state.count                      # the first gradient is step 0 and moves nothing
        moves = (t > 0).astype(jnp.float32)

        def leaf(path: tuple[Any, ...], g: jax.Array, mu: jax.Array, nu: jax.Array,
                 *matrices: Any) -> tuple[Any, ...]:
            left, right, left_basis, right_basis = matrices
            axes = matrix_of(path)
            into = functools.partial(turn, axes=axes, left=left_basis, right=right_basis)
            back = functools.partial(turn, axes=axes, left=transposed(left_basis),
                                     right=transposed(right_basis))
            mu += moves * (1 - b1) * (g - mu)
            nu += moves * (1 - b2) * (into(g) ** 2 - nu)
            root = jnp.sqrt(nu / corrected(b2, t)) + eps
            direction = moves * back(into(mu) / corrected(b1, t) / root)
            left, right = gram(g, left, right, axes=axes, decay=b2)
            return (direction, mu, nu, left, right, follow(left, left_basis, t, every),
                    follow(right, right_basis, t, every))

        out = jax.tree_util.tree_map_with_path(leaf, grads, *state[1:])
        directions, *moments = (
            jax.tree.map(lambda _, leaf, i=i: leaf[i], grads, out) for i in range(len(state)))
        return directions, SoapState(t + 1, *moments)

    # Rotations of sharded moments and QR are laid out by the compiler, whatever the mesh.
    return optax.GradientTransformation(init, automatic(update))


def is_absent(side: Any) -> bool:
    """Say whether a side of a weight is not rotated."""
    return isinstance(side, optax.MaskedNode)


def transposed(side: Any) -> Any:
    """Return Qᵀ of every matrix of a side."""
    return side if is_absent(side) else jnp.matrix_transpose(side)


def corrected(decay: float, t: jax.Array) -> jax.Array:
    """Return Adam's bias correction 1 - decay ** t; of step 1 at step 0, which moves nothing."""
    return 1 - decay ** jnp.maximum(t, 1).astype(jnp.float32)


def turn(x: jax.Array, *, axes: Matrix, left: Any, right: Any) -> jax.Array:
    """Return leftᵀ X right of the matrices X of a weight, in the weight's own shape."""
    if is_absent(left) and is_absent(right):
        return x
    y = to_matrix(x, axes)
    y = y if is_absent(left) else product("...ki,...kj->...ij", left, y)
    y = y if is_absent(right) else product("...ik,...kj->...ij", y, right)
    return from_matrix(y, axes, x.shape)


def gram(g: jax.Array, left: Any, right: Any, *, axes: Matrix, decay: float) -> tuple[Any, Any]:
    """Return the running means L of G Gᵀ and R of Gᵀ G, moved by a gradient."""
    if is_absent(left) and is_absent(right):
        return left, right
    y = to_matrix(g, axes)
    if not is_absent(left):
        left += (1 - decay) * (product("...ik,...jk->...ij", y, y) - left)
    if not is_absent(right):
        right += (1 - decay) * (product("...ki,...kj->...ij", y, y) - right)
    return left, right


def follow(mean: Any, basis: Any, t: jax.Array, every: int) -> Any:
    """Return the eigenvectors of L or R at step t, from those of the step before.

    No compiler splits a QR, so every device takes all of it: whole matrices are gathered once, and
    nothing is communicated in the loop.
    """
    if is_absent(mean):
        return basis

    def eigenvectors(mean: jax.Array, basis: jax.Array, t: jax.Array) -> jax.Array:
        identity = jnp.eye(mean.shape[-1], dtype=mean.dtype)
        norm = jnp.linalg.norm(mean, axis=(-2, -1), keepdims=True)
        # A gradient of zeros leaves the identity.
        shifted = mean + jnp.where(norm > 0, SHIFT * norm, 1.0) * identity

        def iterate(q: jax.Array) -> jax.Array:
            return jnp.linalg.qr(product("...ik,...kj->...ij", shifted, q))[0]

        def first() -> jax.Array:
            start = jnp.broadcast_to(identity, mean.shape)
            return jax.lax.fori_loop(0, FIRST_ITERATIONS, lambda _, q: iterate(q), start)

        return jax.lax.cond(t == 0, first, lambda: jax.lax.cond(
            t % every == 0, iterate, lambda q: q, basis))

    whole = (None,) * mean.ndim
    return local(eigenvectors, (whole, whole, ()), whole, check=False)(mean, basis, t)
