"""Choose the next token of every row, on the device, each row by its own settings.

Top-p is the nucleus of Holtzman et al. 2020, https://arxiv.org/abs/1904.09751; the draw is by
Gumbel-max. A row's token depends on its own logits, settings and key only, never on its neighbours.
Shapes: B rows, V vocabulary, T reported alternatives.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

TOP = 5                          # most alternatives a request may ask for, as OpenAI's interface


class Rows(NamedTuple):
    """What the device needs to know of each row, [B] each.

    token:       i32, last token, read by the next step
    position:    i32, where it stands
    temperature: f32, 0 for the most probable token
    top_k:       i32, 0 for all
    top_p:       f32
    seed:        u32
    count:       i32, tokens generated so far: the draw of token n uses fold_in(key(seed), n)
    report:      bool, whether alternatives are wanted
    """

    token: np.ndarray
    position: np.ndarray
    temperature: np.ndarray
    top_k: np.ndarray
    top_p: np.ndarray
    seed: np.ndarray
    count: np.ndarray
    report: np.ndarray


class Drawn(NamedTuple):
    """token i32 and its logprob f32 [B]; alternatives top_tokens i32, top_logprobs f32 [B, T]."""

    token: jax.Array
    logprob: jax.Array
    top_tokens: jax.Array
    top_logprobs: jax.Array


def idle_rows(rows: int) -> Rows:
    """Return rows that decode the first token greedily at position 0, to no effect."""
    zeros = np.zeros(rows, np.int32)
    return Rows(zeros, zeros.copy(), np.zeros(rows, np.float32), zeros.copy(),
                np.ones(rows, np.float32), np.zeros(rows, np.uint32), zeros.copy(),
                np.zeros(rows, bool))


def draw(logits: jax.Array, rows: Rows) -> Drawn:
    """Return the next token of each row of logits f32 [B, V]."""
    # Sorting the vocabulary costs more than all else here; a batch of greedy rows never does it.
    token = jax.lax.cond(jnp.any(rows.temperature > 0), sampled, greedy, logits, rows)
    logprobs = jax.nn.log_softmax(logits)
    chosen = jnp.take_along_axis(logprobs, token[:, None], axis=1)[:, 0]
    return Drawn(token, chosen, *jax.lax.cond(jnp.any(rows.report), top, no_top, logprobs))


def greedy(logits: jax.Array, rows: Rows) -> jax.Array:
    """Return the most probable token of each row, i32 [B]."""
    del rows
    return jnp.argmax(logits, axis=-1).astype(jnp.int32)


def sampled(logits: jax.Array, rows: Rows) -> jax.Array:
    """Return a drawn token of each row, i32 [B]; rows of temperature 0 take the most probable."""
    drawn = jax.vmap(sample_one)(logits, rows)
    return jnp.where(rows.temperature > 0, drawn, greedy(logits, rows))


def sample_one(logits: jax.Array, row: Rows) -> jax.Array:
    """Draw one token from logits [V] by Gumbel-max over what top_k and top_p leave."""
    scaled = logits / jnp.where(row.temperature > 0, row.temperature, 1.0)
    kept = jnp.where(scaled >= threshold(scaled, row.top_k, row.top_p), scaled, -jnp.inf)
    key = jax.random.fold_in(jax.random.key(row.seed), row.count)
    return jnp.argmax(kept + jax.random.gumbel(key, kept.shape)).astype(jnp.int32)


def threshold(scaled: jax.Array, top_k: jax.Array, top_p: jax.Array) -> jax.Array:
    """Return the smallest logit of [V] that top_k, then top_p among those, still allow."""
    ranked = -jnp.sort(-scaled)
    rank = jnp.arange(scaled.shape[0])
    ranked = jnp.where((top_k == 0) | (rank < top_k), ranked, -jnp.inf)
    probability = jax.nn.softmax(ranked)
    before = jnp.cumsum(probability) - probability       # mass of the tokens ranked higher
    # Rounding can bring the sum to 1 before the last token: a top_p of 1 must still mean all.
    allowed = ((before < top_p) | (top_p >= 1) | (rank == 0)) & (ranked > -jnp.inf)
    return jnp.min(jnp.where(allowed, ranked, jnp.inf))


def top(logprobs: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return tokens i32 and log probabilities f32 [B, T] of the most probable tokens."""
    values, tokens = jax.lax.top_k(logprobs, min(TOP, logprobs.shape[-1]))
    return tokens.astype(jnp.int32), values


def no_top(logprobs: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return zeros in the shape of `top`."""
    shape = (logprobs.shape[0], min(TOP, logprobs.shape[-1]))
    return jnp.zeros(shape, jnp.int32), jnp.zeros(shape, logprobs.dtype)
