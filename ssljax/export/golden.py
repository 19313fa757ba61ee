"""Answers of the training-time model on a few inputs, which every later load must reproduce.

Checksums prove that the files are the ones written; these prove that they still compute the same
on this machine, with this version of jax. A few kilobytes: of the logits, 64 columns and the
log-sum-exp over all of them, which moves when any column does.
"""

import jax
import jax.numpy as jnp
import numpy as np

from ssljax.core.types import Inputs, Model, PyTree

ROWS, LENGTH, COLUMNS = 2, 12, 64

Golden = dict[str, np.ndarray]


def decoder_golden(model: Model, weights: PyTree, *, vocab_size: int, context: int) -> Golden:
    """Return tokens i32 [2, L], columns i32 [C], logits f32 [2, L, C] and logsumexp f32 [2, L].

    Args:
        model: the network that was trained, not the exported program.
        weights: {"params": ..., "stats": ... if any}.
        vocab_size: ids are drawn below it.
        context: longest row the model reads; L is at most this.
    """
    draw = np.random.default_rng(0)
    tokens = draw.integers(vocab_size, size=(ROWS, min(LENGTH, context)), dtype=np.int32)
    columns = np.unique(np.linspace(0, vocab_size - 1, COLUMNS).astype(np.int32))
    logits = reference(model, weights, {"tokens": jnp.asarray(tokens)}, "logits")
    return {"tokens": tokens, "columns": columns, "logits": logits[:, :, columns],
            "logsumexp": np.logaddexp.reduce(logits, axis=-1)}


def encoder_golden(model: Model, weights: PyTree, *, image: tuple[int, int, int]) -> Golden:
    """Return image f32 [2, H, W, C] of values in 0..1 and pooled f32 [2, D]."""
    pixels = np.random.default_rng(0).random((ROWS, *image), np.float32)
    return {"image": pixels,
            "pooled": reference(model, weights, {"image": jnp.asarray(pixels)}, "pooled")}


def reference(model: Model, weights: PyTree, inputs: Inputs, output: str) -> np.ndarray:
    """Return one output of the training-time model as float32."""
    def call(weights: PyTree, inputs: Inputs) -> jax.Array:
        return model.apply(weights["params"], inputs, stats=weights.get("stats"))[output]

    return np.asarray(jax.jit(call)(weights, inputs), np.float32)
