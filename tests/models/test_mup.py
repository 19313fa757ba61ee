"""muP: what is computed keeps its size at every width, which it does not without."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ssljax.core.config import resolve
from ssljax.core.errors import ConfigError
from ssljax.nn.attention import SelfAttention
from ssljax.nn.loss import cross_entropy
from ssljax.nn.norm import NORMS
from ssljax.nn.transformer import Block
from ssljax.optim.compose import compose

BASE, HEADS, DEPTH, STEPS, LR = 32, 4, 2, 5, 0.02
ENDS, WIDTHS = (32, 256), (32, 64, 128, 256)
TOKENS = (jnp.arange(4)[:, None] * 7 + jnp.arange(17) * (1 + jnp.arange(4)[:, None])) % 64
POSITIONS = jnp.broadcast_to(jnp.arange(16), (4, 16))


@functools.cache
def activations(width: int, mup: bool) -> dict[str, float]:
    """Return {name: mean |x - x before|} after a few steps of Adam."""
    spec = {"name": "gpt", "vocab_size": 64, "width": width, "depth": DEPTH, "num_heads": HEADS,
            "mlp_dim": 2 * width, "layers": "scan", "mup_base_width": BASE if mup else 0}
    model = resolve("models", spec)
    tx = compose({"name": "adamw", "lr": LR}, lambda t: 1.0, model.lr_scales)
    inputs, targets = {"tokens": TOKENS[:, :-1]}, TOKENS[:, 1:]
    scale = (64 * HEADS / width) ** 0.5 if mup else 1.0

    def loss(params):
        return jnp.mean(cross_entropy(model.apply(params, inputs)["logits"], targets))

    def seen(params):
        """Run the blocks one by one, to see what flows between them."""
        blocks, x = params["decoder"]["blocks"], params["embedding"][inputs["tokens"]]
        block = Block(HEADS, 2 * width, "rms", "swiglu", 1e4, 1.0, True, "auto", 0, 2, "full",
                      scale)
        attention = SelfAttention(HEADS, 1e4, 1.0, True, "auto", "full", scale)
        for i in range(DEPTH):
            layer = jax.tree.map(lambda w, i=i: w[i], blocks)
            normed = NORMS["rms"]().apply({"params": layer["norm_attention"]}, x)
            y, _ = attention.apply({"params": layer["attention"]}, normed, POSITIONS, None, None)
            x, *_ = block.apply({"params": layer}, x, {"positions": POSITIONS}, None)
        return {"attention": y, "residual": x, "logits": model.apply(params, inputs)["logits"]}

    @jax.jit
    def run(params):
        def step(_, carry):
            params, state = carry
            updates, state = tx.update(jax.grad(loss)(params), state, params)
            return optax.apply_updates(params, updates), state

        after, _ = jax.lax.fori_loop(0, STEPS, step, (params, tx.init(params)))
        return jax.lax.map(seen, jax.tree.map(lambda *x: jnp.stack(x), params, after))

    changes = run(model.init(jax.random.key(0), inputs)[0])
    return {name: float(jnp.mean(jnp.abs(x[1] - x[0]))) for name, x in changes.items()}


def slope(name: str, widths, *, mup: bool) -> float:
    """Return the exponent with which a change grows with the width."""
    sizes = [activations(width, mup)[name] for width in widths]
    return float(np.polyfit(np.log(widths), np.log(sizes), 1)[0])


every_name = pytest.mark.parametrize("name", ["attention", "residual", "logits"])


@pytest.mark.slow
@every_name
def test_changes_keep_their_size_at_every_width(name):
    assert abs(slope(name, ENDS, mup=True)) < 0.2
    assert slope(name, ENDS, mup=False) > 0.4


@pytest.mark.slow
@every_name
def test_changes_keep_their_size_between_the_ends(name):
    assert abs(slope(name, WIDTHS, mup=True)) < 0.2
    assert slope(name, WIDTHS, mup=False) > 0.4


def test_at_the_base_width_only_attention_changes():
    keys = {"vocab_size": 64, "width": 128, "depth": 1, "num_heads": 2, "name": "gpt"}
    plain, mup = resolve("models", keys), resolve("models", {**keys, "mup_base_width": 128})
    params, _ = plain.init(jax.random.key(0), {"tokens": TOKENS})
    logits = [m.apply(params, {"tokens": TOKENS})["logits"] for m in (plain, mup)]
    np.testing.assert_allclose(*logits, rtol=1e-5, atol=1e-6)      # heads are 64 wide: 8 / K


def test_training_and_evaluation_scale_the_logits_alike():
    model = resolve("models", {"name": "gpt", "vocab_size": 64, "width": 32, "depth": 1,
                               "num_heads": 4, "mup_base_width": 8})
    params, _ = model.init(jax.random.key(0), {"tokens": TOKENS})
    out = model.apply(params, {"tokens": TOKENS}, train=True)
    logits = jnp.einsum("BLD,VD->BLV", out["sequence"], out["table"])
    expected = model.apply(params, {"tokens": TOKENS})["logits"]
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-6)


def test_experts_are_refused():
    with pytest.raises(ConfigError, match="without experts"):
        resolve("models", {"name": "gpt", "vocab_size": 64, "width": 32, "depth": 1,
                           "num_heads": 4, "experts": 2, "mup_base_width": 16})
