"""Products are counted from the jaxpr: loops, experts, gradients where they flow and only there."""

import jax
import jax.numpy as jnp
import pytest

from ssljax.core.products import count_products
from ssljax.nn import attention

W = jnp.ones((4, 5))
X = jnp.ones((3, 4))
ONCE = 2 * 3 * 4 * 5


def totals(found):
    return {name: use.total for name, use in found.uses.items()}


def test_a_first_layer_has_no_gradient_by_its_input():
    found = count_products(lambda p, x: (x @ p["w"]).sum(), {"w": W}, X, frozen=0)
    assert found.uses == {"w": (2 * ONCE, ONCE, 3 * 4, 3 * 5, 3 * 5)}


def test_a_later_layer_has_both_gradients():
    def loss(p, x):
        return (jnp.tanh(x * p["scale"]) @ p["w"]).sum()

    found = count_products(loss, {"scale": jnp.ones(4), "w": W}, X, frozen=0)
    assert totals(found) == {"w": 3 * ONCE}


def test_loops_and_checkpoints_count_as_often_as_they_run():
    def loss(p, x):
        body = jax.checkpoint(lambda c, w: (jnp.tanh(c @ w), None))
        return jax.lax.scan(body, x, p["w"])[0].sum()

    found = count_products(loss, {"w": jnp.ones((7, 4, 4))}, X, frozen=0)
    # The input of the first round has no gradient, but those of a loop are one value.
    assert totals(found) == {"w": 3 * 7 * 2 * 3 * 4 * 4}


def test_a_teacher_has_a_forward_pass_alone():
    def loss(p, teacher, x):
        target = jax.lax.stop_gradient((x * p["scale"]) @ p["w"])
        return ((x @ teacher["w"]) * target).sum()

    found = count_products(loss, {"w": W, "scale": jnp.ones(4)}, {"w": W}, X)
    # Inside stop_gradient the operands still look active; what flows out of it does not.
    assert totals(found)["frozen/w"] == ONCE


def test_two_activations_are_mixing():
    def loss(p, x):
        y = x * p["scale"]
        return jnp.tanh(y @ y.T).sum()

    found = count_products(loss, {"scale": jnp.ones(4)}, X, frozen=0)
    assert found.mixing == 3 * 2 * 3 * 3 * 4 and not found.uses


def test_experts_multiply_the_rows_routed_to_them():
    def loss(p, x):
        return jax.lax.ragged_dot(x * p["scale"], p["w"], jnp.array([1, 2, 0])).sum()

    params = {"w": jnp.ones((3, 4, 5)), "scale": jnp.ones(4)}
    found = count_products(loss, params, X, frozen=0)
    assert totals(found) == {"w": 3 * ONCE} and found.grouped == {"w"}


def test_rows_looked_up_make_a_table_and_cost_nothing():
    found = count_products(lambda p, i: p["table"][i].sum(), {"table": W}, jnp.array([1, 2]),
                           frozen=0)
    assert found.tables == {"table"} and found.total == 0


def test_the_costliest_branch_counts():
    def loss(p, x):
        return jax.lax.cond(x.sum() > 0, lambda: (x @ p["w"]).sum(), lambda: p["w"].sum())

    assert count_products(loss, {"w": W}, X, frozen=0).total == 2 * ONCE


def test_a_convolution_multiplies_its_window():
    def loss(p, x):
        return jax.lax.conv_general_dilated(x, p["w"], (1, 1), "VALID").sum()

    found = count_products(loss, {"w": jnp.ones((6, 2, 3, 3))}, jnp.ones((1, 2, 8, 8)), frozen=0)
    assert totals(found) == {"w": 2 * 2 * (6 * 6 * 6) * (2 * 3 * 3)}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_gradients_flow_through_casts_to_floating_types_only(dtype):
    def loss(p, x):
        rounded = (x * p["scale"]).astype(dtype) @ p["w"].astype(dtype)
        order = jnp.argsort(x * p["scale"], axis=0).astype("float32") @ p["w"]
        return rounded.astype("float32").sum() + order.sum()

    found = count_products(loss, {"scale": jnp.ones(4), "w": W}, X, frozen=0)
    assert totals(found) == {"w": 3 * ONCE + 2 * ONCE}


def attention_loss(program):
    def loss(p, x):
        y = (x * p["scale"]).astype("bfloat16")
        return program(y, y, y, causal=True, segment_ids=None).astype("float32").sum()

    return count_products(loss, {"scale": jnp.ones(128)},
                          jax.ShapeDtypeStruct((2, 256, 4, 128), "float32"), frozen=0)


def test_fused_attention_counts_what_the_plain_one_does(monkeypatch):
    cudnn = pytest.importorskip("jax._src.cudnn.fused_attention_stablehlo")
    for check in ("check_cudnn_version", "check_compute_capability"):
        monkeypatch.setattr(cudnn, check, lambda *_: 91_000)
    plain = attention_loss(attention.attend)
    assert plain.mixing == 3 * 4 * 2 * 256 * 256 * 4 * 128
    assert attention_loss(attention.splash_attention).mixing == plain.mixing
    assert attention_loss(attention.cudnn_attention).mixing == plain.mixing
