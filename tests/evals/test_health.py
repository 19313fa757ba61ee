"""Label-free figures of features: each against its definition, and the cases that bound them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.core.errors import ConfigError, DataError, UnreadableRecordError
from ssljax.evals import health, retrieval
from ssljax.evals.views import read_probes, view_extractor
from ssljax.models import vit
from ssljax.objectives import simclr
from ssljax.pretext import masked_patches, rotations, two_views
from ssljax.sources import digits

RNG = np.random.default_rng(0)
PRETEXT = two_views.make(**two_views.TINY)
MODEL = vit.make(**vit.TINY)
OBJECTIVE = simclr.make(MODEL, **simclr.TINY)
SOURCE = digits.make(split="test")


def effective_rank(values):
    p = values / np.sum(values) + 1e-7
    return np.exp(-sum(x * np.log(x) for x in p))


@pytest.mark.parametrize("shape", [(60, 12), (12, 60)])
def test_rank_me_is_of_the_singular_values(shape):
    z = RNG.normal(size=shape) * np.linspace(0.01, 2, shape[1]) + 0.3
    expected = effective_rank(np.linalg.svd(z, compute_uv=False))
    assert health.rank_me(z) == pytest.approx(expected, rel=1e-6)


def test_rank_me_counts_directions():
    assert health.rank_me(np.eye(16)) == pytest.approx(16, rel=1e-4)
    assert health.rank_me(np.ones((50, 16))) == pytest.approx(1, abs=1e-3)
    few = RNG.normal(size=(400, 3)) @ np.linalg.qr(RNG.normal(size=(16, 3)))[0].T
    assert health.rank_me(few) == pytest.approx(3, abs=0.1)


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0])
def test_alpha_req_is_the_exponent_of_a_power_law(alpha):
    basis = np.linalg.qr(RNG.normal(size=(200, 64)) - 0.0)[0]
    basis = np.linalg.qr(basis - basis.mean(0))[0]             # uncorrelated and centred
    z = basis * np.arange(1, 65) ** (-alpha / 2)
    assert health.alpha_req(z) == pytest.approx(alpha, rel=0.02)


def test_alpha_req_of_features_that_do_not_vary_is_unknown():
    assert np.isnan(health.alpha_req(np.ones((20, 8))))


def reference_lidar(z):
    """Sum outer products, whiten with a matrix root, take the entropy of the eigenvalues."""
    n, q, d = z.shape
    mean = z.reshape(-1, d).mean(0)
    between, within = np.zeros((d, d)), 1e-4 * np.eye(d)
    for group in z:
        between += np.outer(group.mean(0) - mean, group.mean(0) - mean) / (n - 1)
        for view in group:
            within += np.outer(view - group.mean(0), view - group.mean(0)) / (n * (q - 1))
    values, vectors = np.linalg.eigh(within)
    root = vectors @ np.diag(values**-0.5) @ vectors.T
    return effective_rank(np.linalg.eigvalsh(root @ between @ root).clip(0))


def test_lidar_is_its_definition():
    z = RNG.normal(size=(20, 1, 6)) * 2 + RNG.normal(size=(20, 4, 6)) * np.linspace(0.1, 1, 6)
    assert health.lidar(z) == pytest.approx(reference_lidar(z), rel=1e-6)


def test_lidar_counts_the_directions_that_tell_images_apart_and_rank_me_does_not():
    images = np.zeros((300, 1, 8))
    images[..., :2] = RNG.normal(size=(300, 1, 2)) * 10
    z = images + RNG.normal(size=(300, 10, 8))                 # views differ in every direction
    assert health.lidar(z) < 3
    everywhere = RNG.normal(size=(300, 1, 8)) * 10 + RNG.normal(size=(300, 10, 8))
    assert health.lidar(everywhere) > 7


def test_deviations_see_a_dead_dimension():
    z = RNG.normal(size=(500, 8))
    z[:, 3] = 0
    found = health.deviations(z)
    assert found[3] == 0
    assert found[[0, 1, 2, 4, 5, 6, 7]] == pytest.approx(np.sqrt(8 / 7), rel=0.1)


@functools.cache
def params():
    view = jnp.zeros((8, 8, 8, 1))
    return OBJECTIVE.init(jax.random.key(5), {"view1": view, "view2": view})


OPTIONS = {"model": MODEL, "plain": PRETEXT.plain, "example": PRETEXT.example,
           "views": PRETEXT.views, "source": SOURCE, "batch_size": 32}


def test_probes_and_their_views_are_always_the_same_ones():
    probes = read_probes(SOURCE, 40, plain=PRETEXT.plain, example=PRETEXT.example)
    weights = OBJECTIVE.encoder(*params())
    small, large = (view_extractor(MODEL, PRETEXT.views, probes, batch_size=b) for b in (16, 64))
    z = small(*weights, 3)
    assert z.shape == (40, 3, 16)
    np.testing.assert_allclose(large(*weights, 3), z, atol=1e-5)
    assert np.abs(z[:, 0] - z[:, 2]).max() > 1e-3               # views, not one image thrice
    assert len(read_probes(SOURCE, 10**6, plain=PRETEXT.plain,
                           example=PRETEXT.example).plain) == len(SOURCE)


def test_every_draw_has_crops_of_its_own_where_the_host_crops():
    """Views that were one image several times would have no spread within a group."""
    pretext = masked_patches.make(**{**masked_patches.TINY, "host_crop": "random", "min_area": 0.1,
                                     "flip_probability": 0.0})
    probes = read_probes(SOURCE, 20, plain=pretext.plain, example=pretext.example)
    first, second = (probes.drawn(draw)["image"].astype(float) for draw in (0, 1))
    assert np.mean(np.abs(first - second).max((1, 2, 3)) > 10) > 0.8
    np.testing.assert_array_equal(probes.drawn(1)["image"], second)
    z = view_extractor(MODEL, pretext.views, probes, batch_size=16)(
        *OBJECTIVE.encoder(*params()), 4)
    assert z.shape == (20, 4, 16) and np.median(np.std(z, axis=1)) > 1e-3
    still = read_probes(SOURCE, 20, plain=PRETEXT.plain, example=PRETEXT.example)
    assert still.drawn(3) is still.drawn(0)                     # nothing is drawn on the host


def test_probes_that_cannot_be_read_are_left_out():
    class Damaged(digits.Digits):
        def read(self, indices):
            return [UnreadableRecordError("cut short", "truncated") if i % 3 else record
                    for i, record in zip(indices, super().read(indices), strict=True)]

    probes = read_probes(Damaged("test"), 40, plain=PRETEXT.plain, example=PRETEXT.example)
    assert 4 < len(probes.plain) == len(probes.drawn(0)["image"]) < 25
    with pytest.raises(DataError, match="needs 2"):
        read_probes(Damaged("test"), 1, plain=PRETEXT.plain, example=PRETEXT.example)


def test_probes_without_an_example_are_left_out_too():
    def example(record, rng):
        if record["label"] == 3:
            raise UnreadableRecordError("no caption", "no_caption")
        return PRETEXT.example(record, rng)

    probes = read_probes(SOURCE, 60, plain=PRETEXT.plain, example=example)
    assert 40 < len(probes.plain) == len(probes.drawn(1)["image"]) < 60


def test_the_evaluator_returns_every_figure_and_knows_a_collapse():
    judge = health.make(OBJECTIVE, images=64, groups=32, views_per_image=4, every=50, **OPTIONS)
    assert judge.every == 50
    healthy = judge.run(*params())
    assert set(healthy) == {"rank_me", "alpha_req", "std_min", "std_median", "lidar"}
    assert all(value == low == high for value, (low, high) in healthy.values())
    dead = judge.run(jax.tree.map(jnp.zeros_like, params()[0]), params()[1])
    assert dead["rank_me"][0] < 1.01 < 2 < healthy["rank_me"][0] <= 16
    assert dead["std_median"][0] == 0 < healthy["std_median"][0]


def test_without_whole_views_there_is_no_lidar_and_no_retrieval():
    pretext = rotations.make(**rotations.TINY)
    options = {**OPTIONS, "views": pretext.views, "example": pretext.example}
    judge = health.make(OBJECTIVE, images=32, groups=16, views_per_image=2, **options)
    assert "lidar" not in judge.run(*params())
    with pytest.raises(ConfigError, match="views that the network reads whole"):
        retrieval.make(OBJECTIVE, images=16, **options).run(*params())


def test_too_few_of_anything_is_refused():
    with pytest.raises(ConfigError, match="views_per_image 1: each is at least 2"):
        health.make(OBJECTIVE, views_per_image=1, **OPTIONS)
