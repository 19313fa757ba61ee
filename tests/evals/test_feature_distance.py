"""The Fréchet distance against closed forms and SciPy's matrix root; the references beside it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import sqrtm

from ssljax.core.errors import ConfigError, DataError
from ssljax.core.rng import record_id
from ssljax.core.types import Model, Objective, Pretext
from ssljax.evals import feature_distance
from ssljax.evals.feature_distance import Encoder, frechet_distance, with_interval

RNG = np.random.default_rng(0)


def test_distance_equals_the_formula_with_scipys_matrix_root():
    a = RNG.normal(size=(60, 5)) @ RNG.normal(size=(5, 5)) + 1
    b = RNG.normal(size=(80, 5)) @ RNG.normal(size=(5, 5))
    cov_a, cov_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = np.real(sqrtm(cov_a @ cov_b))
    expected = np.sum((a.mean(0) - b.mean(0)) ** 2) + np.trace(cov_a + cov_b - 2 * root)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-8)
    assert frechet_distance(b, a) == pytest.approx(expected, rel=1e-8)


def test_distance_of_moved_and_stretched_features_is_known():
    x = RNG.normal(size=(500, 3))
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-10)
    assert frechet_distance(x, x + [3, 0, 4]) == pytest.approx(25, rel=1e-9)
    stretched = 2 * x                              # the root of C (4 C) is 2 C
    expected = np.sum(x.mean(0) ** 2) + np.trace(np.cov(x, rowvar=False))
    assert frechet_distance(x, stretched) == pytest.approx(expected, rel=1e-9)


def test_fewer_images_than_features_are_no_error():
    few = frechet_distance(RNG.normal(size=(10, 40)), RNG.normal(size=(10, 40)))
    assert np.isfinite(few)
    assert few > 0


def test_intervals_hold_the_truth():
    """Two normal distributions one apart: 95 % of intervals around distances hold about 1."""
    held = 0
    for _ in range(40):
        value, (low, high) = with_interval(RNG.normal(size=(400, 2)),
                                           RNG.normal(size=(400, 2)) + [1, 0])
        assert low < value < high
        held += low <= 1 <= high
    assert held >= 34


class Images:
    """Real images: bright above, dark below, of some contrast."""

    def __init__(self, count: int):
        self.count = count

    def __len__(self) -> int:
        return self.count

    def read(self, indices) -> list[dict]:
        return [{"id": record_id("real", int(i)), "image": self.image(int(i))} for i in indices]

    def image(self, index: int) -> np.ndarray:
        contrast = np.random.default_rng(index).uniform(40, 100)
        rows = np.linspace(128 + contrast, 128 - contrast, 4)
        return np.tile(rows[:, None, None], (1, 4, 1)).astype(np.uint8)

    def fingerprint(self) -> dict[str, str]:
        return {"images": str(self.count)}


def generator(contrast: float) -> tuple[Objective, Pretext]:
    """Return a method that draws images like the real ones where `contrast` is 1."""
    def sample(params, extra, key, like, *, gain: float = 1.0):
        shape = like["image"].shape
        amount = jax.random.uniform(key, (shape[0], 1, 1, 1), minval=40, maxval=100) / 255
        rows = jnp.linspace(1, -1, 4)[None, :, None, None] * amount * contrast * gain
        return {"image": jnp.broadcast_to(rows, shape)}

    objective = Objective(None, None, None, None, sample=sample)
    pretext = Pretext(None, None, lambda key, example: {}, {"image": ((4, 4, 1), "float32"),
                                                            "id": ((2,), "uint32")},
                      lambda batch: batch["image"] + 0.5)
    return objective, pretext


def load_encoder(path: str) -> Encoder:
    assert path == "runs/simclr"
    model = Model(None, lambda params, inputs, stats=None: {
        "pooled": inputs["image"].reshape(-1, 4, 4)[:, :, 0] * params})
    return Encoder(model, jnp.float32(1), {}, lambda r: {
        "image": r["image"].astype(np.float32) / 255})


def judged(contrast: float, **options):
    objective, pretext = generator(contrast)
    evaluator = feature_distance.make(
        objective, pretext=pretext, source=Images(200), encoder_run="runs/simclr",
        load_encoder=load_encoder, images=100, batch_size=32, options=options)
    return {name: value for name, (value, _) in evaluator.run(jnp.float32(0), {}).items()}


def test_a_good_generator_is_as_near_as_other_real_images():
    good, flat = judged(1.0), judged(0.0)
    assert good["feature_distance"] < 3 * good["feature_distance_real"]
    assert flat["feature_distance"] > 10 * good["feature_distance"]
    assert good["feature_distance_noise"] > 10 * good["feature_distance"]
    assert flat["feature_distance_real"] == good["feature_distance_real"]
    assert judged(1.0, gain=0.0)["feature_distance"] == flat["feature_distance"]


def test_what_cannot_be_judged_is_refused():
    with pytest.raises(ConfigError, match='no option "stepz"; known: gain'):
        judged(1.0, stepz=3)
    with pytest.raises(ConfigError, match="gain = 'x' is a str; expected float"):
        judged(1.0, gain="x")
    objective, pretext = generator(1.0)
    common = dict(pretext=pretext, encoder_run="", load_encoder=load_encoder)
    with pytest.raises(DataError, match="the source has 6.*images = 3 or less"):
        feature_distance.make(objective, source=Images(6), images=4, **common)
    with pytest.raises(ConfigError, match="does not generate"):
        feature_distance.make(objective._replace(sample=None), source=Images(6), images=3, **common)
