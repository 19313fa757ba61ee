"""bfloat16 computes, float32 remembers: where each number lives in a mixed-precision step."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ssljax.models import gpt
from ssljax.objectives import next_token
from ssljax.optim import adamw
from ssljax.train.state import init_fn
from ssljax.train.step import gradient_sums, make_train_step

B, L, V = 4, 16, 64
RANDOM = np.random.default_rng(0)
BATCH = {"tokens": RANDOM.integers(0, V, (B, L)).astype(np.int32),
         "targets": RANDOM.integers(0, V, (B, L)).astype(np.int32),
         "positions": np.tile(np.arange(L, dtype=np.int32), (B, 1)),
         "segment_ids": np.ones((B, L), np.int32), "loss_weight": np.ones((B, L), np.float32),
         "id": np.arange(2 * B, dtype=np.uint32).reshape(B, 2), "epoch": np.zeros(B, np.int32)}
SPEC = {n: (x.shape[1:], x.dtype.name) for n, x in BATCH.items() if n != "epoch"}


def views(key, example):
    del key
    return example


@functools.cache
def parts(loss="full"):
    objective = next_token.make(gpt.make(**gpt.TINY), loss=loss, z_loss=1e-3)
    tx = adamw.make(optax.constant_schedule(1.0), lr=1e-2)
    return objective, tx, init_fn(objective, tx, views, SPEC, B)


@pytest.mark.parametrize("loss", ["full", "fused"])
def test_softmax_norms_and_loss_are_float32(loss):
    objective, tx, init = parts(loss)
    state = jax.eval_shape(init, jax.random.key(0))
    step = make_train_step(objective, tx, views=views, compute_dtype="bfloat16")
    lines = jax.jit(step).lower(state, BATCH).as_text().splitlines()
    delicate = [line for line in lines if re.search(
        r"stablehlo\.(exponential|log|rsqrt|divide|power|sqrt)\b", line)]
    assert delicate
    # SwiGLU's gate, of hidden width 128, is an activation like any other.
    assert not [line for line in delicate if "bf16" in line and "x128xbf16" not in line]
    products = [line for line in lines if "stablehlo.dot_general" in line]
    assert sum("bf16" in line for line in products) >= 0.8 * len(products)


def test_parameters_gradients_and_the_optimizer_stay_float32():
    objective, tx, init = parts()
    state = init(jax.random.key(0))
    sums = gradient_sums(objective, "bfloat16")
    (total, weight, grads, _), _ = jax.eval_shape(sums, state.params, state.extra, BATCH,
                                                  state.key)
    after, _ = jax.eval_shape(make_train_step(objective, tx, views=views, accumulate=2,
                                              compute_dtype="bfloat16"), state, BATCH)
    floats = [x for x in jax.tree.leaves((total, weight, grads, after.params, after.opt_state))
              if jnp.issubdtype(x.dtype, jnp.floating)]
    assert {x.dtype for x in floats} == {jnp.dtype("float32")}


def test_microbatches_add_up_in_float32():
    """A sum in bfloat16 stops growing at 256 times what is added."""
    objective, tx, init = parts()
    step = make_train_step(objective, tx, views=views, accumulate=4, compute_dtype="bfloat16")
    traced = jax.make_jaxpr(step)(jax.eval_shape(init, jax.random.key(0)), BATCH)
    loop = next(eqn for eqn in traced.eqns
                if eqn.primitive.name == "scan" and eqn.params["length"] == 4)
    carried = [v.aval.dtype for v in loop.outvars if jnp.issubdtype(v.aval.dtype, jnp.floating)]
    assert len(carried) > len(jax.tree.leaves(jax.eval_shape(init, jax.random.key(0)).params))
    assert set(carried) == {jnp.dtype("float32")}
