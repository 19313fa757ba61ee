"""Two views of one image among those of others."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.core import sharding
from ssljax.evals import retrieval
from ssljax.models import vit
from ssljax.objectives import simclr
from ssljax.pretext import two_views
from ssljax.sources import digits

RNG = np.random.default_rng(0)


def test_first_hits_equal_the_loop():
    z = RNG.normal(size=(30, 2, 3)) + RNG.normal(size=(30, 1, 3))
    expected = []
    for i in range(30):
        cosine = [z[i, 0] @ b / np.linalg.norm(z[i, 0]) / np.linalg.norm(b) for b in z[:, 1]]
        expected.append(int(np.argmax(cosine)) == i)
    assert retrieval.first_hits(z).tolist() == expected
    assert 0 < np.mean(expected) < 1


@pytest.mark.slow
def test_judgement_stands_beside_both_controls_on_a_mesh_and_without():
    pretext = two_views.make(size=8, channels=1, min_area=0.6, jitter=0.0,
                             flip_probability=0.0)
    model = vit.make(**vit.TINY)
    objective = simclr.make(model, **simclr.TINY)
    judge = retrieval.make(objective, model=model, plain=pretext.plain, example=pretext.example,
                           views=pretext.views, source=digits.make(split="test"), images=48,
                           batch_size=16)
    view = jnp.zeros((8, 8, 8, 1))
    params, extra = objective.init(jax.random.key(1), {"view1": view, "view2": view})
    found = judge.run(params, extra)
    assert set(found) == {"retrieval_at_1", "retrieval_at_1_random_init",
                          "retrieval_at_1_raw_pixels"}
    assert found["retrieval_at_1_raw_pixels"][0] > 3 / 48          # chance is one of 48
    mesh = sharding.make_mesh({"data": -1})
    with sharding.use_mesh(mesh):
        everywhere = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
        there = judge.run(*jax.device_put((params, extra), everywhere))
    for name, (value, _) in found.items():
        assert abs(there[name][0] - value) < 0.05, name
