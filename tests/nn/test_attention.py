"""Attention: every program computes the same, on any layout, and says why it was chosen."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType

from ssljax.core import sharding
from ssljax.core.errors import ConfigError
from ssljax.nn.attention import attend, choose_attention, splash_attention

B, L, H, K = 4, 16, 2, 8
RANDOM = np.random.default_rng(0)
QKVG = tuple(RANDOM.normal(size=(B, L, H, K)).astype(np.float32) for _ in range(4))
# Three documents and padding in every row, none of them ending where a device does.
SEGMENTS = np.repeat([[1] * 5 + [2] * 6 + [3] * 3 + [0] * 2], B, 0).astype(np.int32)


def reference(q, k, v, causal, segments):
    """Softmax of the scaled products over what a query may see, in float64."""
    scores = np.einsum("BQHK,BSHK->BHQS", q.astype(np.float64), k) / np.sqrt(q.shape[-1])
    seen = np.ones((q.shape[0], 1, q.shape[1], q.shape[1]), bool)
    if causal:
        seen &= np.tril(seen[0, 0])
    if segments is not None:
        seen &= (segments[:, :, None] == segments[:, None, :])[:, None]
    p = np.where(seen, np.exp(scores - scores.max(-1, keepdims=True)), 0)
    return np.einsum("BHQS,BSHK->BQHK", p / p.sum(-1, keepdims=True), v)


def value_and_gradients(mesh, causal, segments, kind="auto"):
    """Return attention and the gradients of a random projection of it, on a mesh."""
    def loss(q, k, v, g):
        y = attend(q, k, v, causal=causal, segment_ids=segments, kind=kind)
        return jnp.sum(y * g), y

    with sharding.use_mesh(mesh):
        layout = (sharding.BATCH, "context", "tensor", None)
        place = jax.jit(lambda *arrays: [sharding.shard(x, *layout) for x in arrays])
        grads, y = jax.jit(jax.grad(loss, argnums=(0, 1, 2), has_aux=True))(*place(*QKVG))
    return [np.asarray(x) for x in (y, *grads)]


@functools.cache
def alone(causal, packed):
    return value_and_gradients(None, causal, SEGMENTS if packed else None)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("causal", [False, True])
def test_attention_is_the_equation(causal, packed):
    want = reference(*QKVG[:3], causal, SEGMENTS if packed else None)
    np.testing.assert_allclose(alone(causal, packed)[0], want, atol=2e-6)


@pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit])
@pytest.mark.parametrize("kind", ["xla", "ring"])
@pytest.mark.parametrize("causal, packed, sizes", [
    (True, True, {"context": 8}), (True, False, {"data": 2, "context": 2, "tensor": 2}),
    (False, True, {"fsdp": 2, "context": 4})])
def test_a_shared_sequence_equals_one_device(kind, axis_type, causal, packed, sizes):
    mesh = sharding.make_mesh(sizes, axis_type)
    got = value_and_gradients(mesh, causal, SEGMENTS if packed else None, kind)
    for a, b in zip(got, alone(causal, packed), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=2e-6)


def test_the_ring_needs_less_memory_than_gathered_keys():
    """Scores of [L / n, L / n] instead of [L / n, L], kept for no hop."""
    x = jax.ShapeDtypeStruct((1, 1024, 1, 8), jnp.float32)

    def temporary(kind):
        loss = lambda q, k, v: jnp.sum(attend(q, k, v, causal=True, kind=kind) ** 2)  # noqa: E731
        with sharding.use_mesh(sharding.make_mesh({"context": 8}, AxisType.Auto)):
            compiled = jax.jit(jax.grad(loss, argnums=(0, 1, 2))).lower(x, x, x).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    assert temporary("ring") < 0.5 * temporary("xla")


def test_the_kernel_for_tpus_computes_the_same():
    """Interpreted: the kernel itself needs a TPU, and tiles of 128."""
    q, k, v = (RANDOM.normal(size=(1, 256, 1, 128)).astype(np.float32) for _ in range(3))
    segments = np.repeat([1, 2], [100, 156])[None].astype(np.int32)
    got = splash_attention(q, k, v, causal=True, segment_ids=segments, interpret=True)
    np.testing.assert_allclose(got, reference(q, k, v, True, segments), atol=1e-4)


H200 = {"platform": "cuda", "dtype": "bfloat16", "head_width": 64, "length": 1024}
V5P = {"platform": "tpu", "dtype": "bfloat16", "head_width": 128, "length": 4096}


@pytest.mark.parametrize("case, name, why", [
    (H200, "cudnn", "fused"), (H200 | {"context": 2}, "cudnn", "fused"),
    (H200 | {"dtype": "float32"}, "xla", "16-bit"), (H200 | {"head_width": 68}, "xla", "68"),
    (H200 | {"cached": True}, "xla", "cache"), (H200 | {"platform": "gpu"}, "xla", "not a supp"),
    (V5P, "splash", "fused"), (V5P | {"dtype": "float32"}, "xla", "16-bit"),
    (V5P | {"length": 4100}, "xla", "4100"),
    (V5P | {"context": 2, "length": 8192}, "ring", "over 2 devices"),
    ({"platform": "cpu", "dtype": "float32", "head_width": 8, "length": 16}, "xla", "cpu is not")])
def test_the_choice_follows_device_dtype_and_shape(case, name, why):
    choice = choose_attention("auto", **case)
    assert choice.name == name
    assert why in choice.why


@pytest.mark.parametrize("wanted, why", [("cudnn", "16-bit"), ("splash", "not a TPU"),
                                         ("ring", "one device along context")])
def test_a_program_that_cannot_run_here_is_refused(wanted, why):
    with pytest.raises(ConfigError, match=why):
        choose_attention(wanted, **(H200 | {"dtype": "float32"}))


def test_the_choice_is_logged_once(caplog):
    with caplog.at_level("INFO"):
        for _ in range(2):
            attend(*(x[:, :6] for x in QKVG[:3]), causal=True)
    said = [r.message for r in caplog.records if "Attention of 6 tokens" in r.message]
    assert len(said) == 1
    assert "xla" in said[0]
    assert "cpu is not" in said[0]


@pytest.mark.parametrize("packed", [False, True])
def test_no_mask_of_all_pairs_is_made_for_causal_order_alone(packed):
    lowered = jax.jit(functools.partial(attend, causal=True)).lower(
        *QKVG[:3], segment_ids=SEGMENTS if packed else None).as_text()
    assert (f"tensor<{B}x{L}x{L}xi1>" in lowered) == packed
