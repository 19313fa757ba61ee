"""MAE's loss against a loop: hidden patches count, visible ones do not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.core.errors import ConfigError
from ssljax.models import vit, vit_decoder
from ssljax.objectives import mae

RNG = np.random.default_rng(0)
IMAGES = RNG.random((3, 8, 8, 1)).astype(np.float32)
HIDDEN = np.stack([RNG.permutation(16) < 12 for _ in range(3)])


def built(**options):
    model, decoder = vit.make(**vit.TINY), vit_decoder.make(**vit_decoder.TINY)
    objective = mae.make(model, decoder=decoder, **{**mae.TINY, **options})
    batch = {"image": jnp.asarray(IMAGES), "hidden": jnp.asarray(HIDDEN)}
    params, extra = jax.jit(objective.init)(jax.random.key(0), batch)
    return objective, model, decoder, batch, params, extra


def patch(image: np.ndarray, n: int) -> np.ndarray:
    row, column = divmod(n, 4)
    return image[2 * row:2 * row + 2, 2 * column:2 * column + 2].reshape(-1).astype(np.float64)


@pytest.mark.parametrize("targets", ["pixels", "normalised_pixels"])
def test_loss_equals_the_loop_over_hidden_patches(targets):
    objective, model, decoder, batch, params, extra = built(targets=targets)
    visible = np.stack([np.flatnonzero(~row) for row in HIDDEN])

    @jax.jit
    def predict(params):
        tokens = model.apply(params["encoder"], {"image": batch["image"], "visible": visible})
        return decoder.apply(params["decoder"], {"sequence": tokens["sequence"],
                                                 "visible": jnp.asarray(visible)})["pixels"]

    pixels = np.asarray(predict(params))
    expected = 0.0
    for i, n in zip(*np.nonzero(HIDDEN), strict=True):
        target = patch(IMAGES[i], n)
        if targets == "normalised_pixels":
            target = (target - target.mean()) / np.sqrt(target.var(ddof=1) + 1e-6)
        expected += np.mean((pixels[i, n] - target) ** 2)
    total, (weight, _, _) = jax.jit(objective.loss)(params, extra, batch, jax.random.key(1))
    assert float(total) == pytest.approx(expected, rel=1e-4)
    assert weight == HIDDEN.sum() == 36


def test_hidden_pixels_are_targets_only():
    """The gradient of a hidden pixel is that of its squared error: nothing else reads it."""
    objective, _, _, batch, params, extra = built(targets="pixels")

    @jax.jit
    def loss(image):
        return objective.loss(params, extra, {**batch, "image": image}, jax.random.key(1))[0]

    grad = jax.jit(jax.grad(loss))(batch["image"])
    i, n = np.argwhere(HIDDEN)[5]
    row, column = divmod(n, 4)
    here = (i, 2 * row, 2 * column, 0)
    second = (loss(batch["image"].at[here].add(0.5)) + loss(batch["image"].at[here].add(-0.5))
              - 2 * loss(batch["image"])) / 0.25
    assert float(second) == pytest.approx(2 / 4, rel=1e-2)          # a parabola, of known width
    assert grad[here] != 0


def test_evaluation_uses_the_encoder_alone():
    objective, *_, params, extra = built()
    weights, stats = objective.encoder(params, extra)
    assert weights is params["encoder"]
    assert stats == {}
    assert not objective.coupled


def test_a_mask_of_other_patches_is_refused():
    objective, *_, batch, params, extra = built()
    batch = {**batch, "hidden": jnp.zeros((3, 4), bool)}
    with pytest.raises(ConfigError, match=r"reads hidden of shape \(3, 16\) but got \(3, 4\)"):
        objective.loss(params, extra, batch, jax.random.key(0))
