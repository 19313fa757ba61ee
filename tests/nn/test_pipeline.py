"""What cannot fill a pipeline is refused with the numbers; equality is proved in tests/parallel."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.core import sharding
from ssljax.core.errors import ConfigError
from ssljax.nn.pipeline import pipeline


def add(weights, x, rows):
    """Add the weights of a group of layers and the rows' own number; count the rows."""
    seen = jnp.sum(jnp.ones_like(x[:, 0, 0]))
    return x + jnp.sum(weights) + rows["row"][..., None], {"seen": seen}


def run(*, depth=4, batch=16, microbatches=4, repeats=1):
    mesh = sharding.make_mesh({"stage": 4, "data": 2})
    with sharding.use_mesh(mesh):
        weights = sharding.shard(jnp.arange(float(depth)), "stage")
        x = sharding.shard(jnp.zeros((batch, 2, 3)), sharding.BATCH, "context", None)
        rows = sharding.shard(jnp.ones((batch, 2), jnp.int32), sharding.BATCH, "context")
        return jax.jit(lambda w, x, r: pipeline(add, w, x, {"row": r}, microbatches=microbatches,
                                                repeats=repeats))(weights, x, rows)


@pytest.mark.parametrize("depth, microbatches, repeats", [(4, 4, 1), (8, 8, 2)])
def test_every_microbatch_passes_every_group_of_layers_once(depth, microbatches, repeats):
    out, sums = run(depth=depth, microbatches=microbatches, repeats=repeats)
    groups = 4 * repeats
    np.testing.assert_allclose(out, sum(range(depth)) + groups)
    assert sums["seen"] == 16 * groups


@pytest.mark.parametrize("options, message", [
    ({"depth": 4, "repeats": 2}, "4 layers do not divide over 4 stages x 2 repeats"),
    ({"microbatches": 2}, "pipeline_microbatches = 2 leaves some of 4 stages"),
    ({"batch": 24, "microbatches": 8}, "24 rows does not divide into 8 pipeline microbatches")])
def test_what_cannot_fill_the_stages_is_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        run(**options)
