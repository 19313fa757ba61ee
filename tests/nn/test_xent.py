"""Cross-entropy in chunks: the naive loss and gradients, on every layout, in less memory."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from ssljax.core import sharding
from ssljax.core.sharding import BATCH
from ssljax.nn.loss import is_fused, next_token_nats
from ssljax.nn.xent import chunks_of, fused_nats

B, L, V, D = 8, 12, 64, 16
Z = 1e-2
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(B, L, D)).astype(np.float32)
TABLE = RANDOM.normal(size=(V, D)).astype(np.float32)
TARGETS = RANDOM.integers(0, V, (B, L)).astype(np.int32)
WEIGHTS = (RANDOM.random((B, L)) < 0.7).astype(np.float32)


def naive():
    """Loss, nats and both gradients in NumPy, float64."""
    logits = X.astype(np.float64) @ TABLE.T
    log_z = np.log(np.exp(logits).sum(-1))
    hot = np.eye(V)[TARGETS]
    nats = (WEIGHTS * (log_z - (logits * hot).sum(-1))).sum()
    total = nats + Z * (WEIGHTS * log_z**2).sum()
    p = np.exp(logits - log_z[..., None])
    d = WEIGHTS[..., None] * (p * (1 + 2 * Z * log_z[..., None]) - hot)
    return total, nats, d @ TABLE, np.einsum("blv,bld->vd", d, X)


def computed(loss, x=X, table=TABLE, targets=TARGETS, weights=WEIGHTS):
    (total, nats), grads = jax.jit(jax.value_and_grad(
        lambda x, table: loss(x, table, targets, weights), argnums=(0, 1), has_aux=True))(x, table)
    return total, nats, *grads


def check(found, scale=1.0):
    for a, b in zip(found, naive(), strict=True):
        np.testing.assert_allclose(np.asarray(a), b * scale, rtol=2e-5,
                                   atol=2e-5 * np.abs(b).max())


def in_chunks(x, table, targets, weights):
    return fused_nats(x, table, targets, weights, z_loss=Z, chunk=V * 16)


@pytest.mark.parametrize("kind", ["full", "fused"])
def test_loss_and_gradients_equal_the_formula(kind):
    check(computed(lambda x, table, *rest: next_token_nats(
        {"sequence": x, "table": table}, *rest, z_loss=Z, kind=kind)))


def test_any_number_of_chunks_gives_the_same():
    check(computed(in_chunks))
    assert chunks_of(96, 16) == 6
    assert chunks_of(96, 17) == 6
    assert chunks_of(97, 50) == 97      # a prime has no smaller equal chunks


@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit], ids=lambda k: k.name)
@pytest.mark.parametrize("sizes", [{"tensor": 8}, {"data": 2, "context": 2, "tensor": 2},
                                   {"fsdp": 8}], ids=str)
def test_vocabulary_over_tensor_and_length_over_context(sizes, kind):
    mesh = sharding.make_mesh(sizes, kind)
    specs = (PartitionSpec(BATCH, "context"), PartitionSpec("tensor"),
             PartitionSpec(BATCH, "context"), PartitionSpec(BATCH, "context"))
    with sharding.use_mesh(mesh):
        arrays = [jax.device_put(a, NamedSharding(mesh, s))
                  for a, s in zip((X, TABLE, TARGETS, WEIGHTS), specs, strict=True)]
        check(computed(in_chunks, *arrays))


def test_the_loss_is_linear_in_its_cotangent():
    half = lambda *args: tuple(0.5 * s for s in in_chunks(*args))  # noqa: E731
    check(computed(half), 0.5)


def test_bfloat16_sums_in_float32():
    small = [jnp.asarray(a, jnp.bfloat16) for a in (X, TABLE)]
    exact = [np.asarray(a, np.float32) for a in small]
    found, right = computed(in_chunks, *small), computed(in_chunks, *exact)
    assert found[0].dtype == jnp.float32
    assert found[2].dtype == found[3].dtype == jnp.bfloat16
    np.testing.assert_allclose(found[0], right[0], rtol=1e-5)
    np.testing.assert_allclose(found[3].astype(np.float32), right[3],
                               atol=0.01 * np.abs(right[3]).max())


def test_memory_of_a_large_vocabulary_is_a_chunk():
    shapes = [jax.ShapeDtypeStruct(s, t) for s, t in
              (((4, 256, 64), jnp.float32), ((32_768, 64), jnp.float32), ((4, 256), jnp.int32),
               ((4, 256), jnp.float32))]

    def temporary(kind: str) -> int:
        loss = lambda x, table, *rest: next_token_nats(  # noqa: E731
            {"sequence": x, "table": table}, *rest, kind=kind)[0]
        step = jax.jit(jax.grad(loss, argnums=(0, 1))).lower(*shapes).compile()
        return step.memory_analysis().temp_size_in_bytes

    logits = 4 * 256 * 32_768 * 4
    assert temporary("full") > logits
    assert temporary("fused") < logits / 2


def test_the_choice_is_by_vocabulary():
    assert [is_fused("auto", v) for v in (64, 4095, 4096, 50_304)] == [False, False, True, True]
    assert is_fused("fused", 64)
    assert not is_fused("full", 50_304)


def test_logits_of_a_model_without_a_table_are_read():
    total, nats = next_token_nats({"logits": X @ TABLE.T}, TARGETS, WEIGHTS, z_loss=Z)
    np.testing.assert_allclose([total, nats], naive()[:2], rtol=2e-5)
