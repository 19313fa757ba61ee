"""Meshes and layouts: what fits is laid out, what does not is refused with the numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType

from ssljax.core import sharding
from ssljax.core.errors import ConfigError


@pytest.mark.parametrize("sizes, full", [
    ({"data": -1}, (1, 8, 1, 1, 1, 1)), ({"fsdp": -1, "tensor": 2}, (1, 1, 4, 1, 1, 2)),
    ({"data": 2, "context": 4}, (1, 2, 1, 1, 4, 1))])
def test_sizes_are_filled_in(sizes, full):
    assert tuple(sharding.mesh_sizes(8, sizes).values()) == full


@pytest.mark.parametrize("sizes, message", [
    ({"data": 3}, "needs 3 devices; 8 are visible"),
    ({"data": -1, "tensor": 3}, "needs 6 devices; 8 are visible"),
    ({"datas": 8}, 'no axis "datas"; did you mean "data"'),
    ({"data": -1, "fsdp": -1}, "one may be -1"), ({"data": 0}, "at least 1")])
def test_an_impossible_mesh_is_refused(sizes, message):
    with pytest.raises(ConfigError, match=message):
        sharding.mesh_sizes(8, sizes)


def test_a_width_that_does_not_divide_is_refused_before_compiling():
    mesh = sharding.make_mesh({"fsdp": 8})
    with pytest.raises(ConfigError, match="12 does not divide over 8 devices of mesh axis fsdp"):
        sharding.shardings(mesh, {"w": ("fsdp", None)}, {"w": jnp.zeros((12, 4))})


@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit])
def test_microbatches_split_rows_and_keep_them_on_their_devices(kind):
    x = np.arange(64, dtype=np.float32).reshape(16, 4)
    mesh = sharding.make_mesh({"data": 4, "fsdp": 2}, kind)
    with jax.set_mesh(mesh):
        placed = sharding.place_batch(mesh, {"x": x})["x"]
        parts = np.asarray(jax.jit(lambda x: sharding.split_batch(x, 2))(placed))
    assert parts.shape == (2, 8, 4)
    assert sorted(map(tuple, parts.reshape(16, 4))) == sorted(map(tuple, x))


@pytest.mark.parametrize("kind", [None, AxisType.Auto, AxisType.Explicit])
def test_per_example_allows_what_sharding_types_refuse(kind):
    """Sorting and gathering within a row, with the batch on eight devices."""
    x = np.random.default_rng(0).normal(size=(8, 5)).astype(np.float32)
    mesh = sharding.make_mesh({"data": 4, "tensor": 2}, kind) if kind else None
    with sharding.use_mesh(mesh):
        placed = sharding.place_batch(mesh, {"x": x})["x"]
        best = jax.jit(sharding.per_example(lambda row: row[jnp.argsort(row)[::-1][:2]]))(placed)
    np.testing.assert_array_equal(best, np.sort(x)[:, ::-1][:, :2])
