"""Layer-wise learning rates on weights that stack layers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.core.errors import ConfigError
from ssljax.optim.compose import compose

ONES = {"encoder": {"w_patch": np.ones((2, 3)), "class_token": np.ones((1, 3)),
                    "encoder": {"blocks": {"w_up": np.ones((3, 2, 2)), "scale": np.ones((3, 2))},
                                "norm": {"scale": np.ones(2)}}},
        "decoder": {"mask_token": np.ones((1, 2)), "blocks": {"w_up": np.ones((4, 2, 2))}}}


def steps(**words) -> dict:
    """Return the steps of AdamW, whose first is the learning rate and the decay of ones."""
    params = jax.tree.map(jnp.asarray, ONES)
    tx = compose({"name": "adamw", "lr": 1.0, "weight_decay": 0.5, **words}, lambda step: 1.0)
    updates, _ = tx.update(params, tx.init(params), params)
    return jax.tree.map(lambda x: -np.asarray(x), updates)


def test_every_block_moves_slower_than_the_one_above_and_heads_do_not():
    got, plain = steps(layer_decay=0.5), steps()
    stack = got["encoder"]["encoder"]["blocks"]
    for i, factor in enumerate((0.125, 0.25, 0.5)):
        np.testing.assert_allclose(stack["w_up"][i], 1.5 * factor, rtol=1e-5)
        np.testing.assert_allclose(stack["scale"][i], factor, rtol=1e-5)
    np.testing.assert_allclose(got["encoder"]["w_patch"], 1.5 * 0.0625, rtol=1e-5)
    np.testing.assert_allclose(got["encoder"]["class_token"], 0.0625, rtol=1e-5)
    np.testing.assert_array_equal(got["encoder"]["encoder"]["norm"]["scale"],
                                  plain["encoder"]["encoder"]["norm"]["scale"])
    jax.tree.map(np.testing.assert_array_equal, got["decoder"], plain["decoder"])


def test_a_group_of_the_patch_projection_multiplies():
    got = steps(layer_decay=0.5, groups={"stem": {"match": "encoder/w_patch", "lr_scale": 0.2}})
    np.testing.assert_allclose(got["encoder"]["w_patch"], 1.5 * 0.0625 * 0.2, rtol=1e-5)


@pytest.mark.parametrize(("words", "message"), [
    ({"layer_decay": 0.0}, "expected a factor"), ({"layer_decay": 1.5}, "expected a factor"),
    ({"layer_decay": 0.9, "groups": {"up": {"match": ".*w_up", "name": "schedule_free"}}},
     "use adamw")])
def test_what_cannot_work_is_said(words, message):
    with pytest.raises(ConfigError, match=message):
        steps(**words)


def test_a_method_without_an_encoder_of_blocks_is_refused():
    tx = compose({"name": "adamw", "lr": 1.0, "layer_decay": 0.9}, lambda step: 1.0)
    params = {"w_up": jnp.ones((2, 2))}
    with pytest.raises(ConfigError, match="blocks of one encoder"):
        tx.update(params, tx.init(params), params)
