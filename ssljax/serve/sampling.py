"""Choose the next token of every row, on the device, each row by its own settings.

The model's logits are changed in this order: penalties, bias, the mask of a grammar; divided by the
temperature; cut by top_k, by top_p among what that leaves, and by min_p; drawn from by Gumbel-max.

    presence, frequency: OpenAI's, of what was generated: logit[j] -= count[j] * frequency +
        (count[j] > 0) * presence. https://platform.openai.com/docs/guides/text-generation
    repetition: of what was generated or is in the prompt, as Hugging Face's
        RepetitionPenaltyLogitsProcessor: a positive logit is divided by it, a negative one
        multiplied. Keskar et al. 2019, https://arxiv.org/abs/1909.05858. The start token of a
        prompt, which no user wrote and which also ends texts, does not count.
    top_p: the nucleus of Holtzman et al. 2020, https://arxiv.org/abs/1904.09751
    min_p: at least this share of the best token's probability. Nguyen et al. 2024,
        https://arxiv.org/abs/2407.01082

A row's token depends on its own logits, settings and key only, never on its neighbours: what few
requests ask for is skipped when no row does, and changes no bit of the rows that do not.
Shapes: B rows, V vocabulary, T reported alternatives.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ssljax.serve.rows import UNUSED, Rows

TOP = 20                         # most alternatives a request may ask for, as OpenAI's chat


class Drawn(NamedTuple):
    """token i32 and its logprob f32 [B]; alternatives top_tokens i32, top_logprobs f32 [B, T].

    Log probabilities are the model's own, before any setting changed them.
    """

    token: jax.Array
    logprob: jax.Array
    top_tokens: jax.Array
    top_logprobs: jax.Array


def draw(logits: jax.Array, rows: Rows) -> Drawn:
    """Return the next token of each row of logits f32 [B, V]."""
    changed = adjusted(logits, rows)
    # Cutting and noise cost more than all else here; a batch of greedy rows never does them.
    token = jax.lax.cond(jnp.any(rows.temperature > 0), sampled, greedy, changed, rows)
    return judge(logits, token, rows.report)


def judge(logits: jax.Array, token: jax.Array, report: jax.Array) -> Drawn:
    """Return how probable the model held `token` i32 [B], and what it held most probable."""
    logprobs = jax.nn.log_softmax(logits)
    chosen = jnp.take_along_axis(logprobs, token[:, None], axis=1)[:, 0]
    return Drawn(token, chosen, *jax.lax.cond(jnp.any(report), top, no_top, logprobs))


def adjusted(logits: jax.Array, rows: Rows) -> jax.Array:
    """Return logits f32 [B, V] after penalties, bias and mask; -inf for what may not come."""
    penalties = (rows.presence != 0) | (rows.frequency != 0) | (rows.repetition != 1)
    logits = where_any(penalties, penalised, logits, rows)
    logits = where_any(rows.bias_ids[:, 0] != UNUSED, biased, logits, rows)
    return where_any(rows.constrained, masked, logits, rows)


def where_any(flag: jax.Array, change: Callable[[jax.Array, Rows], jax.Array], logits: jax.Array,
              rows: Rows) -> jax.Array:
    """Return `change` of the rows of `flag` [B]; the others keep every bit, with or without it."""
    def some(logits: jax.Array) -> jax.Array:
        return jnp.where(flag[:, None], change(logits, rows), logits)

    return jax.lax.cond(jnp.any(flag), some, lambda logits: logits, logits)


def penalised(logits: jax.Array, rows: Rows) -> jax.Array:
    """Return logits [B, V] lowered for tokens that came before."""
    place = jnp.arange(rows.history.shape[1])
    start, end = rows.prompt_length[:, None], (rows.prompt_length + rows.count)[:, None]
    written = place < end
    generated = occurrences(rows.history, written & (place >= start), logits.shape[1])
    seen = occurrences(rows.history, written & (place > 0), logits.shape[1]) > 0
    repetition = rows.repetition[:, None]
    repeated = jnp.where(logits > 0, logits / repetition, logits * repetition)
    logits = jnp.where(seen, repeated, logits)
    return (logits - generated * rows.frequency[:, None]
            - (generated > 0) * rows.presence[:, None])


def occurrences(history: jax.Array, counted: jax.Array, vocab: int) -> jax.Array:
    """Return how often each id is among the `counted` entries of history [B, T]: i32 [B, V]."""
    row = jnp.arange(history.shape[0])[:, None]
    # Sums of integers: the order in which a device scatters does not matter.
    return jnp.zeros((history.shape[0], vocab), jnp.int32).at[row, history].add(
        counted.astype(jnp.int32), mode="drop")


def biased(logits: jax.Array, rows: Rows) -> jax.Array:
    """Return logits [B, V] with the rows' biases added; a request gives each id once."""
    row = jnp.arange(logits.shape[0])[:, None]
    return logits.at[row, rows.bias_ids].add(rows.bias, mode="drop")


def masked(logits: jax.Array, rows: Rows) -> jax.Array:
    """Return logits [B, V], -inf where the rows' bits are not set."""
    bits = jnp.asarray(rows.allowed)[:, :, None] >> jnp.arange(32, dtype=jnp.uint32) & 1
    may_come = bits.reshape(logits.shape[0], -1)[:, :logits.shape[1]] == 1
    return jnp.where(may_come, logits, -jnp.inf)


def greedy(logits: jax.Array, rows: Rows) -> jax.Array:
    """Return the most probable token of each row, i32 [B]."""
    del rows
    return best(logits)


def sampled(logits: jax.Array, rows: Rows) -> jax.Array:
    """Return a drawn token of each row, i32 [B]; rows of temperature 0 take the most probable."""
    def noise(seed: jax.Array, count: jax.Array) -> jax.Array:
        return jax.random.gumbel(jax.random.fold_in(jax.random.key(seed), count), logits.shape[1:])

    drawn = best(kept(logits, rows) + jax.vmap(noise)(rows.seed, rows.count))
    return jnp.where(rows.temperature > 0, drawn, greedy(logits, rows))


def best(values: jax.Array) -> jax.Array:
    """Return the first place of the largest of values [B, V], i32 [B].

    In two passes that XLA's CPU compiler vectorises; argmax, which it does not, took 3.8 ms for 16
    rows of 50,257 where these take 0.6, and the noise computed inside it 17 where now 5.
    """
    vocab = values.shape[1]
    place = jnp.where(values == values.max(axis=1, keepdims=True), jnp.arange(vocab), vocab - 1)
    return place.min(axis=1).astype(jnp.int32)


def kept(logits: jax.Array, rows: Rows) -> jax.Array:
    """Return logits [B, V] over temperature, 0 for the best; -inf for what the cuts leave out."""
    temperature = jnp.where(rows.temperature > 0, rows.temperature, 1.0)[:, None]
    scaled = (logits - logits.max(axis=1, keepdims=True)) / temperature
    rank = ordered(scaled)
    # Only the limits come out of the conditionals: the numbers that are drawn from have one code.
    lowest = jnp.zeros_like(rank[:, 0])
    lowest = jax.lax.cond(jnp.any(rows.top_k > 0), top_k_limit, no_limit, lowest, scaled, rows)
    lowest = jax.lax.cond(jnp.any(rows.top_p < 1), top_p_limit, no_limit, lowest, scaled, rows)
    probable = scaled >= jnp.log(rows.min_p)[:, None]
    return jnp.where((rank >= lowest[:, None]) & probable, scaled, -jnp.inf)


def ordered(values: jax.Array) -> jax.Array:
    """Return u32 in the order of f32 `values`, so that a limit can be found bit by bit."""
    bits = jax.lax.bitcast_convert_type(values, jnp.uint32)
    return jnp.where(bits >> 31 == 1, ~bits, bits | jnp.uint32(1 << 31))


def no_limit(lowest: jax.Array, scaled: jax.Array, rows: Rows) -> jax.Array:
    """Return `lowest` as it is."""
    del scaled, rows
    return lowest


def top_k_limit(lowest: jax.Array, scaled: jax.Array, rows: Rows) -> jax.Array:
    """Return the order [B] of the k-th most probable token; ties with it stay."""
    rank, wanted = ordered(scaled), jnp.minimum(rows.top_k, scaled.shape[1])
    found = largest(lambda trial: jnp.sum(rank >= trial[:, None], axis=1) >= wanted, lowest)
    return jnp.where(rows.top_k > 0, found, lowest)


def top_p_limit(lowest: jax.Array, scaled: jax.Array, rows: Rows) -> jax.Array:
    """Return the order [B] of the last token of the nucleus among those from `lowest` up."""
    rank = ordered(scaled)
    mass = jnp.where(rank >= lowest[:, None], jnp.exp(scaled), 0.0)
    wanted = rows.top_p * mass.sum(axis=1)
    found = largest(lambda trial: jnp.sum(jnp.where(rank >= trial[:, None], mass, 0.0), axis=1)
                    >= wanted, lowest)
    # A top_p of 0 is met by no token at all; the best one always stays.
    return jnp.where(rows.top_p < 1, jnp.minimum(found, rank.max(axis=1)), lowest)


def largest(accepts: Callable[[jax.Array], jax.Array], like: jax.Array) -> jax.Array:
    """Return the largest u32 [B] of which `accepts` holds, as it does of all smaller ones.

    32 passes over the logits in place of a sort, which takes twenty times as long on a CPU (16 rows
    of 50,257: 9 ms for 175).
    """
    def step(bit: int, found: jax.Array) -> jax.Array:
        trial = found | (jnp.uint32(1 << 31) >> bit.astype(jnp.uint32))
        return jnp.where(accepts(trial), trial, found)

    return jax.lax.fori_loop(0, 32, step, jnp.zeros_like(like))


def top(logprobs: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return tokens i32 and log probabilities f32 [B, T] of the most probable tokens."""
    values, tokens = jax.lax.top_k(logprobs, min(TOP, logprobs.shape[-1]))
    return tokens.astype(jnp.int32), values


def no_top(logprobs: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return zeros in the shape of `top`."""
    shape = (logprobs.shape[0], min(TOP, logprobs.shape[-1]))
    return jnp.zeros(shape, jnp.int32), jnp.zeros(shape, logprobs.dtype)
