"""AdamW whose weight decay moves over the run."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ssljax.core.errors import ConfigError
from ssljax.core.tree import named_leaves
from ssljax.models import convnext, text_encoder, vit
from ssljax.objectives import siglip
from ssljax.optim import adamw
from ssljax.optim.compose import compose
from ssljax.optim.steps import NO_DECAY, all_but

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


@pytest.mark.parametrize(("model", "spared"), [
    (vit.make(**{**vit.TINY, "layer_scale": 0.1, "class_token": True, "registers": 2,
                 "mask_token": True}),
     {"gamma_attention", "gamma_mlp", "class_token", "register_tokens", "mask_token"}),
    (convnext.make(**convnext.TINY), {"gamma_mlp"})])
def test_matrices_decay_and_layer_scales_and_tokens_do_not(model, spared):
    image = jnp.zeros((1, 8, 8, 1))
    tree, _ = jax.eval_shape(lambda key: model.init(key, {"image": image}), jax.random.key(0))
    kept = {name.split("/")[-1]: decays for name, decays in
            named_leaves(all_but(NO_DECAY)(tree)).items()}
    assert spared <= {name for name, decays in kept.items() if not decays}
    assert all(decays == name.startswith("w_") for name, decays in kept.items())


def test_the_scale_and_bias_of_similarities_do_not_decay():
    objective = siglip.make(vit.make(**vit.TINY), **siglip.TINY,
                            text_model=text_encoder.make(**text_encoder.TINY))
    batch = {"image": jnp.zeros((2, 8, 8, 1)), "tokens": jnp.zeros((2, 8), jnp.int32)}
    params, _ = jax.eval_shape(objective.init, jax.random.key(0), batch)
    decaying = {name.split("/")[-1] for name, decays in
                named_leaves(all_but(NO_DECAY)(params)).items() if decays}
    assert {"log_scale", "pair_bias"} <= {n.split("/")[-1] for n in named_leaves(params)}
    assert not {"log_scale", "pair_bias"} & decaying


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
