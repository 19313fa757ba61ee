"""AdamW whose weight decay moves over the run."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ssljax.core.errors import ConfigError
from ssljax.optim import adamw
from ssljax.optim.compose import compose

SPEC = {"name": "adamw", "lr": 0.5, "weight_decay": 0.04, "final_weight_decay": 0.4}
PARAMS = {"w_up": jnp.asarray([2.0, -1.0]), "scale": jnp.asarray([3.0])}


def decays(tx: optax.GradientTransformation, steps: int, weight: str = "w_up") -> list[float]:
    """Return the decay of every step: without a gradient it is all that moves a weight."""
    state, seen = tx.init(PARAMS), []
    for _ in range(steps):
        updates, state = tx.update({n: jnp.zeros_like(w) for n, w in PARAMS.items()}, state, PARAMS)
        seen.append(float(-updates[weight][0] / (0.5 * PARAMS[weight][0])))
    return seen


def test_decay_rises_along_half_a_cosine_and_spares_what_does_not_decay():
    tx = compose(SPEC, lambda step: 1.0, total_steps=8)
    want = [0.4 + (0.04 - 0.4) * (1 + np.cos(np.pi * min(t, 8) / 8)) / 2 for t in range(10)]
    np.testing.assert_allclose(decays(tx, 10), want, rtol=1e-5)
    assert decays(tx, 3, "scale") == [0, 0, 0]


def test_learning_rates_by_group_scale_the_rate_and_not_the_decay():
    groups = {"up": {"match": "w_up", "lr_scale": 0.5}}
    tx = compose({**SPEC, "groups": groups}, lambda step: 1.0, total_steps=8)
    np.testing.assert_allclose(decays(tx, 9)[::8], [0.02, 0.2], rtol=1e-5)
    # Widths change the rate and keep the decay of a step.
    wide = compose(SPEC, lambda step: 1.0, {"w_up": 0.5}, total_steps=8)
    np.testing.assert_allclose(decays(wide, 9)[::8], [0.04, 0.4], rtol=1e-5)


def test_without_a_final_decay_it_stays_and_keeps_no_count():
    tx = adamw.make(lambda step: 1.0, lr=0.5, weight_decay=0.04)
    np.testing.assert_allclose(decays(tx, 3), 0.04, rtol=1e-5)


@pytest.mark.parametrize(("words", "steps"), [({}, 0), ({"weight_decay": 0.0}, 8)])
def test_a_decay_from_nothing_or_over_nothing_is_refused(words, steps):
    with pytest.raises(ConfigError, match="expected a first decay above 0"):
        compose({**SPEC, **words}, lambda step: 1.0, total_steps=steps)
