"""Errors of predicted patches, and the guesses beside them."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType

from ssljax.core import sharding
from ssljax.core.errors import ConfigError
from ssljax.core.rng import record_id
from ssljax.core.types import Objective, Reconstruction
from ssljax.evals import reconstruction
from ssljax.families.masked import normalise_patches, seen_alike
from ssljax.nn.patches import patchify
from ssljax.pretext import masked_patches

PRETEXT = masked_patches.make(**masked_patches.TINY, ratio=0.5, std=(0.25,))
RNG = np.random.default_rng(0)


@dataclasses.dataclass(frozen=True)
class Waves:
    """Smooth images, which neighbours say much about."""

    size: int = 21

    def __len__(self) -> int:
        return self.size

    def read(self, indices: np.ndarray) -> list[dict]:
        return [{"id": record_id("waves", int(i)), "image": self.image(int(i))} for i in indices]

    def image(self, index: int) -> np.ndarray:
        y, x = np.mgrid[:8, :8] / 8
        wave = np.sin(2 * np.pi * (0.8 * x + 0.3 * y) + index)
        return (127 + 100 * wave).astype(np.uint8)[..., None]

    def fingerprint(self) -> dict[str, str]:
        return {"waves": str(self.size)}


def method(error: float, *, pixels: bool = True, causal: bool = False) -> Objective:
    """Return a method that is wrong by `error` at every value, in the unit of its targets."""
    def targets(image):
        patches = patchify(image.astype(jnp.float32), 2)
        return patches if pixels else normalise_patches(patches)

    def predict(params, extra, batch, key):
        scored, seen = batch["hidden"], seen_alike(batch["hidden"])
        if causal:
            seen = jnp.broadcast_to(jnp.tril(jnp.ones((16, 16), bool), -1), seen.shape)
        return targets(batch["image"]) + params["error"], scored, seen

    return Objective(None, None, None, None,
                     reconstruct=Reconstruction(predict, targets, pixels))


def judge(objective: Objective, error: float, mesh=None, **options) -> dict:
    evaluator = reconstruction.make(
        objective, model=None, plain=PRETEXT.plain, views=PRETEXT.views, test_source=Waves(),
        **{"std": (0.25,), "batch_size": 8, **options})
    with sharding.use_mesh(mesh):
        error = jnp.float32(error)
        if mesh is not None:
            error = jax.device_put(error, jax.sharding.NamedSharding(mesh, sharding.spec()))
        return evaluator.run({"error": error}, {})


def test_every_pixel_is_the_weighted_mean_of_the_seen_ones():
    image, seen = RNG.random((5, 7, 2)), RNG.random((5, 7)) < 0.4
    found = reconstruction.neighbours(image, seen, 3)
    for y, x in np.argwhere(~seen):
        total, weights = np.zeros(2), 0.0
        for v, u in np.argwhere(seen):
            weight = np.hypot(y - v, x - u) ** -3
            total, weights = total + weight * image[v, u], weights + weight
        np.testing.assert_allclose(found[y, x], total / weights, rtol=1e-6)


def test_only_judged_patches_are_filled_in_each_from_what_it_may_read():
    image = RNG.random((8, 8, 1))
    scored = np.arange(16) > 0
    seen = np.tril(np.ones((16, 16), bool), -1)
    found = reconstruction.filled(image, scored, seen, reconstruction.visible_mean)
    np.testing.assert_array_equal(found[:2, :2], image[:2, :2])
    np.testing.assert_allclose(found[:2, 2:4], image[:2, :2].mean())
    np.testing.assert_allclose(found[2:4, :2], image[:2].mean())          # the row above
    nothing = reconstruction.filled(image, ~scored, seen, reconstruction.visible_mean)
    assert np.all(nothing[:2, :2] == 0)
    np.testing.assert_array_equal(nothing[2:], image[2:])


def test_errors_are_squares_of_pixels_between_zero_and_one():
    found = judge(method(0), 0.4)
    assert set(found) == {"masked_error", "masked_error_neighbours", "masked_error_visible_mean"}
    assert found["masked_error"][0] == pytest.approx((0.4 * 0.25) ** 2, rel=1e-5)
    # A wave has a variance of half its squared height; the neighbours know where it is.
    assert found["masked_error_visible_mean"][0] == pytest.approx((100 / 255) ** 2 / 2, rel=0.2)
    assert found["masked_error_neighbours"][0] < found["masked_error_visible_mean"][0] / 2
    assert all(low <= value <= high for value, (low, high) in found.values())


def test_guesses_are_held_to_the_targets_of_the_method_by_their_own_statistics():
    found = judge(method(0, pixels=False), 0.5)
    assert found["masked_error"][0] == pytest.approx(0.25, rel=1e-5)
    # One value for a whole patch has no contrast: the mean guesses zero, which errs by P - 1 / P.
    assert found["masked_error_visible_mean"][0] == pytest.approx(3 / 4, rel=0.02)
    assert found["masked_error_neighbours"][0] < found["masked_error_visible_mean"][0]


def test_a_causal_method_is_compared_with_what_came_before():
    whole, causal = (judge(method(0, causal=c), 0.0, images=4)["masked_error_neighbours"][0]
                     for c in (False, True))
    assert causal > whole


def test_batches_and_meshes_do_not_change_the_judgement():
    alone = judge(method(0), 0.4)
    mesh = sharding.make_mesh({"data": 2, "fsdp": 2, "tensor": 2}, AxisType.Explicit)
    for other in (judge(method(0), 0.4, batch_size=32), judge(method(0), 0.4, mesh=mesh)):
        for name, (value, _) in alone.items():
            assert other[name][0] == pytest.approx(value, rel=1e-5)


def test_a_method_that_predicts_no_patches_is_refused():
    with pytest.raises(ConfigError, match="remove it from evals"):
        reconstruction.make(Objective(None, None, None, None), model=None, plain=None, views=None,
                            test_source=Waves())
