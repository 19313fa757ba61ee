"""SimMIM and MaskFeat: losses of hidden patches alone, from networks that cannot see them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.core.errors import ConfigError
from ssljax.families.hog import patch_histograms
from ssljax.families.masked import apply_patch_head
from ssljax.models import vit
from ssljax.objectives import maskfeat, simmim

RNG = np.random.default_rng(0)
IMAGES = RNG.random((2, 8, 8, 1)).astype(np.float32)
HIDDEN = np.stack([RNG.permutation(16) < 9 for _ in range(2)])
BATCH = {"image": jnp.asarray(IMAGES), "hidden": jnp.asarray(HIDDEN)}
KEY = jax.random.key(1)
METHODS = {"simmim": simmim, "maskfeat": maskfeat}
every_method = pytest.mark.parametrize("name", sorted(METHODS))


@functools.cache
def built(name: str):
    model, method = vit.make(**vit.TINY), METHODS[name]
    objective = method.make(model, **method.TINY)
    return model, objective, *jax.jit(objective.init)(jax.random.key(0), BATCH)


def patches(image: np.ndarray) -> np.ndarray:
    return image.reshape(4, 2, 4, 2, 1).swapaxes(1, 2).reshape(16, 4).astype(np.float64)


@every_method
def test_loss_equals_the_loop_over_hidden_patches(name):
    model, objective, params, extra = built(name)

    @jax.jit
    def predict(params):
        return apply_patch_head(params["head"], model.apply(params["encoder"], BATCH)["patches"])

    found = np.asarray(predict(params), np.float64)
    if name == "simmim":
        wanted, error = np.stack([patches(i) for i in IMAGES]), np.abs
    else:
        wanted, error = patch_histograms(BATCH["image"], patch_size=2, cell_size=2), np.square
    expected = sum(np.mean(error(found[i, n] - np.asarray(wanted)[i, n]))
                   for i, n in zip(*np.nonzero(HIDDEN), strict=True))
    total, (weight, _, metrics) = jax.jit(objective.loss)(params, extra, BATCH, KEY)
    assert float(total) == pytest.approx(expected, rel=1e-5)
    assert weight == HIDDEN.sum() == 18
    squares = sum(np.mean((found[i, n] - np.asarray(wanted)[i, n]) ** 2)
                  for i, n in zip(*np.nonzero(HIDDEN), strict=True))
    assert float(metrics["masked_error"][0]) == pytest.approx(squares, rel=1e-5)


@every_method
def test_hidden_pixels_change_no_prediction(name):
    _, objective, params, extra = built(name)
    pixels = np.repeat(np.repeat(HIDDEN.reshape(2, 4, 4), 2, 1), 2, 2)[..., None]
    noise = RNG.normal(size=IMAGES.shape).astype(np.float32)
    predict = jax.jit(objective.reconstruct.predict)
    before, scored, seen = predict(params, extra, BATCH, KEY)
    changed = {**BATCH, "image": jnp.asarray(np.where(pixels, noise, IMAGES))}
    np.testing.assert_array_equal(predict(params, extra, changed, KEY)[0], before)
    others = {**BATCH, "image": jnp.asarray(np.where(pixels, IMAGES, noise))}
    assert np.abs(predict(params, extra, others, KEY)[0] - before).max() > 1e-3
    np.testing.assert_array_equal(scored, HIDDEN)
    np.testing.assert_array_equal(seen[:, 0], ~HIDDEN)


@every_method
def test_a_perfect_prediction_costs_nothing_and_visible_patches_never_cost(name):
    _, objective, params, extra = built(name)
    wanted = objective.reconstruct.targets(BATCH["image"])
    # A head without weights predicts its bias: right for the only hidden patch.
    hidden = np.zeros((2, 16), bool)
    hidden[:, 5] = True
    image = jnp.broadcast_to(BATCH["image"][:1], BATCH["image"].shape)
    head = {"w_patch_head": jnp.zeros_like(params["head"]["w_patch_head"]),
            "b_patch_head": wanted[0, 5]}
    batch = {"image": image, "hidden": jnp.asarray(hidden)}
    total, _ = objective.loss({**params, "head": head}, extra, batch, KEY)
    assert float(total) == pytest.approx(0, abs=1e-6)


def test_cells_must_tile_a_patch():
    with pytest.raises(ConfigError, match="cell_size 8 does not divide patch_size 4"):
        maskfeat.make(vit.make(**vit.TINY), patch_size=4)
