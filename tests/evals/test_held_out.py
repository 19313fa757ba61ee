"""Held-out judgement: the loss and metrics of training, on batches of other records."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.core.errors import DataError
from ssljax.core.types import Objective
from ssljax.evals import bootstrap, held_out
from ssljax.sources import digits

SOURCE = digits.make(split="test")


def example(record, rng):
    return {"id": record["id"], "image": record["image"], "crop": np.float32(rng.random())}


def views(key, example):
    return {"draw": jax.random.uniform(key)}


def loss(params, extra, batch, key):
    brightness = jnp.mean(batch["image"].astype(jnp.float32), axis=(1, 2, 3))
    rows = jnp.float32(len(brightness))
    metrics = {"drawn": (jnp.sum(batch["draw"] + batch["crop"]), rows)}
    return params * jnp.sum(brightness), (rows, extra, metrics)


def judged(**options):
    objective = Objective(None, loss, None, None)
    return held_out.make(objective, example=example, views=views, source=SOURCE,
                         **options).run(jnp.float32(2), {})


def test_loss_and_metrics_are_means_over_whole_batches():
    found = judged(batch_size=64, records=200)              # three batches; eight are left out
    images = np.stack([r["image"] for r in SOURCE.read(np.arange(192))]).astype(np.float64)
    sums = 2 * images.mean(axis=(1, 2, 3)).reshape(3, 64).sum(axis=1)
    value, interval = bootstrap.ratio(sums, np.full(3, 64))
    assert found["held_out_loss"][0] == pytest.approx(value, rel=1e-6)
    np.testing.assert_allclose(found["held_out_loss"][1], interval, rtol=1e-6)
    assert 0.8 < found["held_out_drawn"][0] < 1.2                    # two uniform variables
    assert found["held_out_drawn"] == judged(batch_size=64, records=200)["held_out_drawn"]


def test_every_record_draws_its_own_views():
    whole, halves = (judged(batch_size=n, records=64)["held_out_drawn"][0] for n in (64, 32))
    assert whole == pytest.approx(halves, rel=1e-6)          # keyed by id, not by place


def test_less_than_a_batch_is_refused():
    with pytest.raises(DataError, match="a batch of 64 records.* 10 are asked for"):
        judged(batch_size=64, records=10)
