"""What every network promises, whatever reads it."""

import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.core import sharding
from ssljax.core.config import find_make, resolve
from ssljax.core.errors import ConfigError
from ssljax.core.tree import named_leaves
from ssljax.core.types import Model
from ssljax.train.layout import partition
from tests.contracts.cases import plugins, tiny

B = 4
RANDOM = np.random.default_rng(0)
# What each network reads, of the smallest useful size.
INPUTS = {
    "conv_decoder": {"sequence": RANDOM.normal(size=(B, 2, 16)).astype(np.float32),
                     "visible": np.tile(np.array([0, 3], np.int32), (B, 1))},
    "convnext": {"image": RANDOM.normal(size=(B, 8, 8, 1)).astype(np.float32)},
    "dit": {"image": RANDOM.normal(size=(B, 8, 8, 1)).astype(np.float32),
            "time": np.linspace(0, 1, B, dtype=np.float32)},
    "gpt": {"tokens": RANDOM.integers(0, 64, (B, 8)).astype(np.int32)},
    "pixel_gpt": {"image": RANDOM.uniform(-1, 1, (B, 8, 8, 1)).astype(np.float32)},
    "resnet": {"image": RANDOM.normal(size=(B, 8, 8, 1)).astype(np.float32)},
    "text_encoder": {"tokens": np.where(np.arange(8) < [[3], [8], [1], [5]], 7, 256
                                        ).astype(np.int32)},
    "vit": {"image": RANDOM.normal(size=(B, 8, 8, 1)).astype(np.float32)},
    "vit_decoder": {"sequence": RANDOM.normal(size=(B, 2, 16)).astype(np.float32),
                    "visible": np.tile(np.array([0, 3], np.int32), (B, 1))},
    "vit_predictor": {"sequence": RANDOM.normal(size=(B, 4, 16)).astype(np.float32),
                      "visible": np.tile(np.array([0, 3, 9, 12], np.int32), (B, 1)),
                      "targets": np.tile(np.array([[1, 2, 5, 6], [6, 7, 10, 11]], np.int32),
                                         (B, 1, 1))},
}
every_model = pytest.mark.parametrize("name", sorted(INPUTS))
stacked = [name for name in sorted(INPUTS)
           if "layers" in inspect.signature(find_make("models", name)).parameters]


def build(name: str, **options) -> tuple[Model, dict, dict]:
    model = resolve("models", {**tiny("models", name), **options})
    params, stats = model.init(jax.random.key(0), INPUTS[name])
    return model._replace(apply=functools.partial(model.apply, stats=stats)), params, INPUTS[name]


def gradient(model: Model, params: dict, inputs: dict) -> list[jax.Array]:
    def loss(params):
        outputs = model.apply(params, inputs).values()
        return sum(jnp.sum(x**2) for x in outputs if isinstance(x, jax.Array))

    return jax.tree.leaves(jax.jit(jax.grad(loss))(params))


@functools.cache
def plain_gradient(name: str) -> list[jax.Array]:
    return gradient(*build(name))


def arrays(outputs) -> dict[str, np.ndarray]:
    return {n: np.asarray(x) for n, x in outputs.items() if isinstance(x, jax.Array)}


def test_every_network_has_inputs():
    assert set(plugins("models")) == set(INPUTS)


@every_model
def test_parameters_are_float32_dicts_with_a_layout(name):
    _, params, _ = build(name)
    assert all(x.dtype == jnp.float32 for x in jax.tree.leaves(params))
    mesh = sharding.make_mesh({"data": 2, "fsdp": 2, "tensor": 2})
    laid_out = named_leaves(sharding.shardings(mesh, partition(), params))
    assert laid_out.keys() == named_leaves(params).keys()
    big = [n for n, x in named_leaves(params).items() if x.size >= 512]
    assert any(any(laid_out[n].spec) for n in big)


def test_a_weight_without_a_layout_is_refused():
    mesh = sharding.make_mesh({"data": 8})
    with pytest.raises(ConfigError, match='No layout for weight.*w_new'):
        sharding.shardings(mesh, partition(), {"w_new": jnp.zeros((4, 4))})


@every_model
def test_jit_equals_no_jit(name):
    model, params, inputs = build(name)
    fast = arrays(jax.jit(model.apply)(params, inputs))
    with jax.disable_jit():
        slow = arrays(model.apply(params, inputs))
    assert fast.keys() == slow.keys()
    for key in fast:
        np.testing.assert_allclose(fast[key], slow[key], rtol=1e-4, atol=1e-5, err_msg=key)


# Every program is compiled: all models unrolled, and one model for the rest.
layouts = [({"layers": "unroll"}, stacked), ({"remat": "full"}, ["gpt"]),
           ({"remat": "dots"}, ["gpt"]), ({"layers": "unroll", "remat": "full"}, ["gpt"])]


@pytest.mark.parametrize(("options", "name"), [
    pytest.param(options, name, marks=() if name in fast else pytest.mark.slow,
                 id=f"{options}-{name}")
    for options, fast in layouts for name in stacked])
def test_scanned_unrolled_and_rematerialised_are_one_network(name, options):
    _, params, inputs = build(name)
    other, same, _ = build(name, **options)
    assert all(map(np.array_equal, jax.tree.leaves(params), jax.tree.leaves(same)))

    for a, b in zip(plain_gradient(name), gradient(other, params, inputs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4 * float(jnp.abs(b).max()))


@every_model
def test_rows_do_not_see_each_other(name):
    model, params, inputs = build(name)
    whole = arrays(model.apply(params, inputs))
    first = arrays(model.apply(params, {n: x[:1] for n, x in inputs.items()}))
    for key, value in first.items():
        np.testing.assert_allclose(value, whole[key][:1], rtol=1e-4, atol=1e-5)


@every_model
def test_computes_in_the_dtype_of_its_parameters(name):
    model, params, inputs = build(name)
    half = jax.tree.map(lambda x: x.astype(jnp.bfloat16), params)
    lowered = jax.jit(model.apply).lower(half, inputs).as_text()
    products = [line for line in lowered.splitlines()
                if "stablehlo.dot_general" in line or "stablehlo.convolution" in line]
    wide = [line for line in products if "bf16" not in line]
    # Attention's logits are float32 by design; every other product is bfloat16.
    assert products
    assert len(wide) <= 2 * len(products) // 5, "\n".join(wide)
