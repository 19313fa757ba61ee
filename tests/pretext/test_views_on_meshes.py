"""Views are a function of run key, epoch and record: the same bits on every mesh, after a resume.

Runs over every pretext whose views are random.
"""

import functools

import jax
import numpy as np
import pytest

from ssljax.core import sharding
from ssljax.core.config import resolve
from ssljax.core.rng import record_id
from ssljax.train.state import with_views
from tests.contracts.cases import MESHES, chosen_mesh, plugins, tiny

ROWS = 16
PRETEXTS = [name for name in plugins("pretext") if name != "next_token"]
# Tiles are divided by their own deviation, a sum whose order the compiler chooses by batch size.
TOLERANCE = {"jigsaw": 1e-5, "patch_pairs": 1e-5}


@functools.cache
def case(name: str):
    """Return the pretext at its smallest, of colour where it takes colour, and a batch."""
    spec = tiny("pretext", name)
    colour = {"channels": 3} if "channels" in spec else {}
    pretext, rng = resolve("pretext", {**spec, **colour}), np.random.default_rng(0)
    rows = {key: rng.integers(0, 256 if dtype == "uint8" else 2, (ROWS, *shape)).astype(dtype)
            for key, (shape, dtype) in pretext.spec.items()}
    return pretext, {**rows, "epoch": np.arange(ROWS, dtype=np.int32) % 3,
                     "id": np.stack([record_id("views", i) for i in range(ROWS)])}


@functools.cache
def views(name: str, mesh_sizes: tuple = ()) -> dict[str, np.ndarray]:
    pretext, batch = case(name)
    mesh = sharding.make_mesh(dict(mesh_sizes)) if mesh_sizes else None
    with sharding.use_mesh(mesh):
        made = jax.jit(lambda b: with_views(pretext.views, jax.random.key(0), b))(
            sharding.place_batch(mesh, batch))
    return {key: np.asarray(value) for key, value in made.items()}


def assert_same_bits(name: str, sizes: dict[str, int]) -> None:
    alone, many = views(name), views(name, tuple(sizes.items()))
    for key in alone:
        np.testing.assert_allclose(many[key], alone[key], rtol=0, atol=TOLERANCE.get(name, 0),
                                   err_msg=key)


@pytest.mark.parametrize("name", [
    name if name in ("two_views", "masked_patches") else pytest.param(name, marks=pytest.mark.slow)
    for name in PRETEXTS])
def test_views_have_the_same_bits_on_a_mesh(name):
    assert_same_bits(name, chosen_mesh(name))


@pytest.mark.slow
@pytest.mark.parametrize("sizes", MESHES, ids=str)
@pytest.mark.parametrize("name", PRETEXTS)
def test_views_have_the_same_bits_on_every_mesh(name, sizes):
    assert_same_bits(name, sizes)


@pytest.mark.parametrize("name", PRETEXTS)
def test_rows_draw_for_themselves(name):
    """The same image in every row: what differs is drawn, and it differs between rows."""
    made = views(name)
    drawn = {key: value for key, value in made.items()
             if key not in ("id", "epoch", "label") and np.ptp(value.astype(float)) > 0}
    assert drawn and any(not np.array_equal(v[0], v[1]) for v in drawn.values())
