"""data2vec 2 against its equations, and what its student may see."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.core.errors import ConfigError
from ssljax.models import conv_decoder, vit
from ssljax.objectives import data2vec
from ssljax.pretext import masked_patches

RNG = np.random.default_rng(0)
VIT = {**vit.TINY, "depth": 2, "collect": 2, "class_token": True}


@functools.cache
def objective(**options):
    decoder = conv_decoder.make(**conv_decoder.TINY)
    return data2vec.make(vit.make(**VIT), decoder=decoder, total_steps=100, class_weight=0.01,
                         **options)


@functools.cache
def batch(masks: int = 2):
    pretext = masked_patches.make(**masked_patches.TINY, kind="inverse_block", ratio=0.8, block=1,
                                  masks=masks)
    image = RNG.integers(0, 256, size=(4, 8, 8, 1), dtype=np.uint8)
    return jax.vmap(pretext.views)(jax.random.split(jax.random.key(0), 4), {"image": image})


@functools.cache
def state():
    params, extra = jax.jit(objective().init)(jax.random.key(0), batch())
    other, _ = jax.jit(objective().init)(jax.random.key(1), batch())
    return params, {**extra, "teacher": other["encoder"]}


def normalised(x: np.ndarray, axis: int) -> np.ndarray:
    return (x - x.mean(axis, keepdims=True)) / np.sqrt(x.var(axis, keepdims=True) + 1e-5)


@pytest.mark.parametrize("norm_mean", [True, False])
@pytest.mark.parametrize("norm", ["instance", "layer"])
def test_targets_are_the_mean_of_normalised_blocks(norm, norm_mean):
    layers = RNG.normal(size=(3, 2, 5, 4)) * np.array([1, 10, 100])[:, None, None, None]
    want = np.zeros((2, 5, 4))
    for k in range(3):
        for b in range(2):
            want[b] += normalised(layers[k, b], 0 if norm == "instance" else 1) / 3
    want = normalised(want, -1) if norm_mean else want
    got = data2vec.layer_targets(jnp.asarray(layers), norm, norm_mean=norm_mean)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("beta", [0.0, 0.5, 2.0])
def test_regression_equals_the_loop(beta):
    ours, theirs = RNG.normal(size=(2, 3, 4))
    want = []
    for row in ours - theirs:
        each = [e**2 if not beta else (e**2 / (2 * beta) if abs(e) < beta else abs(e) - beta / 2)
                for e in row]
        want.append(sum(each) / 2)
    np.testing.assert_allclose(data2vec.regression(jnp.asarray(ours), jnp.asarray(theirs), beta),
                               want, rtol=1e-5)


def test_loss_equals_the_loop_over_masks_with_networks_run_one_mask_at_a_time():
    params, extra = state()
    total, (weight, _, metrics) = jax.jit(objective().loss)(params, extra, batch(),
                                                            jax.random.key(2))
    model, decoder = vit.make(**VIT), conv_decoder.make(**conv_decoder.TINY)
    image, hidden = batch()["image"], np.asarray(batch()["hidden"])
    layers = np.asarray(model.apply(extra["teacher"], {"image": image})["layers"], np.float64)
    targets = normalised(np.mean([normalised(layer, 1) for layer in layers], axis=0), -1)
    errors, of_class = [], []
    student = jax.jit(lambda x, visible: (lambda out: (out["class"], decoder.apply(
        params["decoder"], {"sequence": out["sequence"], "visible": visible})["predictions"]))(
            model.apply(params["encoder"], {"image": x, "visible": visible})))
    for m in range(2):
        visible = np.stack([np.flatnonzero(~row) for row in hidden[:, m]])
        token, predictions = student(image, jnp.asarray(visible))
        for b in range(4):
            gap = (np.asarray(predictions[b], np.float64) - targets[b])[hidden[b, m]]
            errors += list(np.sum(gap**2, axis=1) / 4)
            of_class.append(np.sum((np.asarray(token[b]) - targets[b].mean(0))**2) / 4)
    assert weight == len(errors) == 2 * 4 * 13
    assert float(total / weight) == pytest.approx(np.mean(errors) + 0.01 * np.mean(of_class),
                                                  rel=1e-4)
    assert float(metrics["patch_error"][0] / weight) == pytest.approx(np.mean(errors), rel=1e-4)


def test_hidden_pixels_reach_the_loss_through_the_teacher_alone_which_gets_no_gradient():
    params, extra = state()
    one = {**batch(), "hidden": batch()["hidden"][:, 0]}

    def loss(image, teacher):
        return objective().loss(params, {**extra, "teacher": teacher}, {**one, "image": image},
                                jax.random.key(2))[0]

    by_pixel, by_teacher = jax.jit(jax.grad(loss, argnums=(0, 1)))(one["image"], extra["teacher"])
    hidden = np.repeat(np.repeat(np.asarray(one["hidden"]).reshape(4, 4, 4), 2, 1), 2, 2)
    # Pixels have a gradient through the student only: targets are constants.
    assert np.abs(np.asarray(by_pixel)[hidden]).max() == 0
    assert np.abs(np.asarray(by_pixel)[~hidden]).max() > 0
    assert all(np.abs(g).max() == 0 for g in jax.tree.leaves(by_teacher))


def test_the_teacher_follows_the_moved_student_along_its_line():
    params, extra = state()
    slow = objective(momentum=0.9, final_momentum=1.0, momentum_steps=0.5)
    student = jax.tree.map(lambda x: x + 1, params)
    _, after = slow.update(student, extra, jnp.int32(25))
    for old, new, now in zip(*map(jax.tree.leaves, (
            extra["teacher"], student["encoder"], after["teacher"])), strict=True):
        np.testing.assert_allclose(now, 0.95 * old + 0.05 * new, rtol=1e-5, atol=1e-6)
    assert slow.encoder(student, after)[0] is student["encoder"]


def test_masks_of_one_image_differ_and_hide_equally_many():
    hidden = np.asarray(batch(3)["hidden"])
    assert hidden.shape == (4, 3, 16)
    assert (hidden.sum(-1) == 13).all()
    assert not np.array_equal(hidden[:, 0], hidden[:, 1])


def test_a_network_that_collects_no_layers_is_refused():
    plain = data2vec.make(vit.make(**vit.TINY), decoder=conv_decoder.make(**conv_decoder.TINY),
                          total_steps=10)
    with pytest.raises(ConfigError, match="collect"):
        jax.eval_shape(plain.init, jax.random.key(0), batch())
