"""Gradients of a loss against central differences of its float64 reference."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np


def slopes(reference: Callable[..., float], arrays: tuple[np.ndarray, ...], which: int,
           ) -> np.ndarray:
    """Return the derivative of reference(*arrays) by every number of one of them."""
    found, step = np.zeros_like(arrays[which]), 1e-5
    for place in np.ndindex(found.shape):
        ends = []
        for sign in (1, -1):
            moved = [a.copy() for a in arrays]
            moved[which][place] += sign * step
            ends.append(reference(*moved))
        found[place] = (ends[0] - ends[1]) / (2 * step)
    return found


def check(loss: Callable[..., jax.Array], reference: Callable[..., float],
          *arrays: np.ndarray) -> None:
    """Assert that loss, in float32, has the reference's value and gradient by every argument."""
    single = [jnp.asarray(a, jnp.float32) for a in arrays]
    value, grads = jax.value_and_grad(loss, argnums=tuple(range(len(arrays))))(*single)
    np.testing.assert_allclose(value, reference(*arrays), rtol=1e-5)
    for i, grad in enumerate(grads):
        expected = slopes(reference, arrays, i)
        distance = np.linalg.norm(grad - expected)
        assert distance <= 1e-4 * np.linalg.norm(expected), (i, distance)
