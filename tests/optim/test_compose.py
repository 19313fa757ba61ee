"""Clipping, groups, freezing and averages, which every rule gets from one place."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ssljax.core.errors import ConfigError
from ssljax.core.tree import named_leaves
from ssljax.optim.average import evaluation_params, has_evaluation_params
from ssljax.optim.compose import compose

ADAM = {"name": "adamw", "lr": 0.1}
PARAMS = {"embedding": jnp.arange(6.0).reshape(3, 2) / 6,
          "decoder": {"w_up": jnp.ones((2, 2)), "scale": jnp.ones(2)}}
GRADS = jax.tree.map(lambda x: 1 + 2 * x, PARAMS)


def steps(spec, count=3, grads=GRADS, **options):
    """Return the weights by their paths and the state after steps with one gradient."""
    tx = compose(spec, lambda t: 1.0, **options)
    params, state = PARAMS, tx.init(PARAMS)
    for _ in range(count):
        updates, state = tx.update(grads, state, params)
        params = optax.apply_updates(params, updates)
    return named_leaves(params), state


def moved(spec, **options):
    after, _ = steps(spec, **options)
    return {n: np.asarray(after[n] - x) for n, x in named_leaves(PARAMS).items()}


def test_a_group_changes_words_of_its_weights_alone():
    plain = moved(ADAM)
    grouped = moved({**ADAM, "groups": {"table": {"match": ".*embedding", "lr_scale": 0.5}}})
    np.testing.assert_allclose(grouped["embedding"], 0.5 * plain["embedding"], rtol=1e-5)
    for name in ("decoder/w_up", "decoder/scale"):
        np.testing.assert_array_equal(grouped[name], plain[name])


def test_a_group_has_its_own_decay():
    decayed = moved({**ADAM, "weight_decay": 0.5})
    grouped = moved({**ADAM, "weight_decay": 0.5,
                     "groups": {"table": {"match": "embedding", "weight_decay": 0.0}}})
    np.testing.assert_array_equal(grouped["decoder/w_up"], decayed["decoder/w_up"])
    np.testing.assert_allclose(grouped["embedding"], moved(ADAM)["embedding"], rtol=1e-6)
    assert (grouped["embedding"] != decayed["embedding"]).any()


def test_a_group_may_have_another_rule():
    grouped = moved({**ADAM, "groups": {"table": {"match": "embedding", "name": "lion"}}})
    np.testing.assert_allclose(grouped["embedding"], -0.3, rtol=1e-6)
    np.testing.assert_array_equal(grouped["decoder/w_up"], moved(ADAM)["decoder/w_up"])


def test_a_frozen_group_stays_and_its_gradients_count_in_no_norm():
    frozen = {"rest": {"match": "decoder/.*", "freeze": True}}
    spec = {"name": "lars", "lr": 1.0, "momentum": 0.0, "trust": 1.0, "no_decay": ".*",
            "clip_norm": 1.0, "groups": frozen}
    change = moved(spec, count=1)
    assert not change["decoder/w_up"].any() and not change["decoder/scale"].any()
    assert np.linalg.norm(change["embedding"]) == pytest.approx(1.0, rel=1e-5)


def test_the_gradient_is_clipped_over_all_groups():
    spec = {"name": "lars", "lr": 1.0, "momentum": 0.0, "no_decay": ".*", "clip_norm": 2.0,
            "groups": {"table": {"match": "embedding", "momentum": 0.5}}}
    change = np.concatenate([x.ravel() for x in moved(spec, count=1).values()])
    assert np.linalg.norm(change) == pytest.approx(2.0, rel=1e-5)


def test_learning_rates_by_width_keep_the_decay_of_a_step():
    spec = {**ADAM, "weight_decay": 0.5}
    narrow, wide = moved(spec), moved(spec, lr_scales={"w_up": 0.25})
    np.testing.assert_array_equal(wide["embedding"], narrow["embedding"])
    # One step of Adam is -lr, and the decay -lr wd w, of weights of one.
    np.testing.assert_allclose(moved(spec, count=1, lr_scales={"w_up": 0.25})["decoder/w_up"],
                               -0.1 * 0.25 - 0.1 * 0.5, rtol=1e-4)
    with pytest.raises(ConfigError, match="derived for adamw, lion, schedule_free; optim is 'mu"):
        steps({"name": "muon", "lr": 0.1}, lr_scales={"w_up": 0.25})


def test_widths_and_groups_multiply():
    groups = {"up": {"match": ".*w_up", "lr_scale": 0.5}}
    both = moved({**ADAM, "groups": groups}, lr_scales={"w_up": 0.25})
    np.testing.assert_allclose(both["decoder/w_up"], 0.125 * moved(ADAM)["decoder/w_up"],
                               rtol=1e-5)


@pytest.mark.parametrize("words, message", [
    ({"groups": {"a": {"match": "embeding"}}}, "matches no weight; it is held against whole paths"),
    ({"groups": {"a": {"match": "w_up"}}}, "matches no weight"),
    ({"groups": {"a": {"match": ".*up"}, "b": {"match": "decoder/.*"}}},
     'Weight "decoder/w_up" is matched by optim.groups.a and optim.groups.b'),
    ({"groups": {"a": {"match": "("}}}, "no regular expression"),
    ({"groups": {"a": {"lr_scale": 2.0}}}, "groups.a.match = None"),
    ({"groups": {"a": {"match": ".*", "lrscale": 2.0}}}, 'did you mean "lr_scale"'),
    ({"groups": {"a": {"match": ".*", "b1": "big"}}}, "groups.a 'adamw'.b1 = 'big'"),
    ({"groups": {"a": {"match": ".*", "name": "adam"}}}, 'did you mean "adamw"'),
    ({"groups": {"a": {"match": ".*", "freeze": True, "lr_scale": 2.0}}}, "no other words"),
    ({"groups": {"a": {"match": ".*", "lr_scale": 0}}}, "expected a number above 0"),
    ({"groups": {"a": 3}}, "expected dict"),
    ({"clip_nrom": 1.0}, 'did you mean "clip_norm"'),
    ({"clip_norm": -1.0}, "expected at least 0"),
    ({"clip_norm": "one"}, "clip_norm = 'one'"),
    ({"average": 1.0}, "expected a decay below 1"),
    ({"average": 0.9, "name": "schedule_free"}, "judges an average of its own"),
])
def test_what_cannot_work_is_said(words, message):
    with pytest.raises(ConfigError, match=message):
        steps({**ADAM, **words})


def test_the_average_follows_the_weights_after_each_step():
    tx = compose({**ADAM, "average": 0.25}, lambda t: 1.0)
    params, state = PARAMS, tx.init(PARAMS)
    expected = {n: np.asarray(x) for n, x in named_leaves(PARAMS).items()}
    for t in range(4):
        updates, state = tx.update(GRADS, state, params)
        params = optax.apply_updates(params, updates)
        decay = min(0.25, (1 + t) / (10 + t))
        expected = {n: decay * expected[n] + (1 - decay) * np.asarray(x)
                    for n, x in named_leaves(params).items()}
    for name, x in named_leaves(evaluation_params(state, params)).items():
        np.testing.assert_allclose(x, expected[name], rtol=1e-6)
    plain, _ = steps(ADAM, 4)
    for name, x in named_leaves(params).items():
        np.testing.assert_array_equal(x, plain[name])      # averaging changes no training


def test_weights_are_judged_as_trained_where_nothing_is_averaged():
    params, state = steps(ADAM)
    assert not has_evaluation_params(state)
    assert evaluation_params(state, params) is not None
    for name, x in named_leaves(evaluation_params(state, params)).items():
        np.testing.assert_array_equal(x, params[name])


def test_a_group_without_schedule_free_is_judged_as_trained():
    spec = {"name": "schedule_free", "lr": 0.1,
            "groups": {"table": {"match": "embedding", "name": "adamw"}}}
    tx = compose(spec, lambda t: 1.0)
    params, state = PARAMS, tx.init(PARAMS)
    for _ in range(3):
        updates, state = tx.update(GRADS, state, params)
        params = optax.apply_updates(params, updates)
    assert has_evaluation_params(jax.eval_shape(lambda: state))
    judged, trained = named_leaves(evaluation_params(state, params)), named_leaves(params)
    np.testing.assert_array_equal(judged["embedding"], trained["embedding"])
    assert (judged["decoder/w_up"] != trained["decoder/w_up"]).all()
