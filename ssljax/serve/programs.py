"""An artefact's functions joined with drawing: what the engine compiles.

Each is called with weights and the stacks of adapters (adapters.with_stacks).

Logits past the tokenizer's `ids` belong to rows that only pad the table: never drawn. Shapes: B
rows, L tokens, N pages of a row, G guesses.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from ssljax.serve.artefact import Function
from ssljax.serve.rows import Rows, advance
from ssljax.serve.sampling import Drawn, draw, judge
from ssljax.serve.speculate import Verified, agree

Cache = Any


def read_program(function: Function, ids: int) -> Callable[..., Any]:
    """Return (weights, cache, tokens [1, L], start, last, table, adapter) -> (cache, logits)."""
    def call(weights: Any, cache: Cache, tokens: jax.Array, start: jax.Array, last: jax.Array,
             table: jax.Array, adapter: jax.Array) -> tuple[Cache, jax.Array]:
        out = function(weights, {"tokens": tokens, "start": start, "last": last, "table": table,
                                 "cache": cache, "adapter": adapter})
        return out["cache"], out["logits"][:, :ids]

    return call


def decode_program(function: Function, ids: int, most: int) -> Callable[..., Any]:
    """Return (weights, cache, *turn, steps) -> (cache, steps done, drawn [most, B]).

    A loop whose number of turns is an argument: the same code whatever that number, so the numbers
    are the same too.
    """
    def call(weights: Any, cache: Cache, rows: Rows, table: jax.Array, left: jax.Array,
             ends: jax.Array, steps: jax.Array) -> tuple[Cache, jax.Array, Drawn]:
        def more(carry: tuple[Any, ...]) -> jax.Array:
            done, _, _, left, _ = carry
            return (done < steps) & jnp.any(left > 0)

        def step(carry: tuple[Any, ...]) -> tuple[Any, ...]:
            done, cache, rows, left, drawn = carry
            live = left > 0                   # others write to page 0
            out = function(weights, {
                "token": rows.token, "position": jnp.where(live, rows.position, 0),
                "table": jnp.where(live[:, None], table, 0), "cache": cache,
                "adapter": rows.adapter})
            new = draw(out["logits"][:, :ids], rows)
            ended = jnp.any(new.token[:, None] == ends, axis=1)
            drawn = jax.tree.map(lambda all, one: all.at[done].set(one), drawn, new)
            return (done + 1, out["cache"], advance(rows, new.token),
                    jnp.where(live & ~ended, left - 1, 0), drawn)

        logits = jax.ShapeDtypeStruct((table.shape[0], ids), jnp.float32)
        drawn = jax.tree.map(lambda x: jnp.zeros((most, *x.shape), x.dtype),
                             jax.eval_shape(draw, logits, rows))
        start = (jnp.int32(0), cache, jax.tree.map(jnp.asarray, rows), left, drawn)
        done, cache, _, _, drawn = jax.lax.while_loop(more, step, start)
        return cache, done, drawn

    return call


def verify_program(function: Function, ids: int) -> Callable[..., Any]:
    """Return (weights, cache, rows, table [B, N], left [B], guesses [B, G], guessed [B]) -> (cache,
    what the guesses came to).

    Always all G + 1 tokens of every row, so the numbers do not depend on how many were guessed.
    What a wrong guess wrote is overwritten by the token that comes there before any query looks.
    """
    def call(weights: Any, cache: Cache, rows: Rows, table: jax.Array, left: jax.Array,
             guesses: jax.Array, guessed: jax.Array) -> tuple[Cache, Verified]:
        live = left > 0
        out = function(weights, {
            "tokens": jnp.concatenate([rows.token[:, None], guesses], axis=1),
            "start": jnp.where(live, rows.position, 0),
            "table": jnp.where(live[:, None], table, 0), "cache": cache,
            "adapter": rows.adapter})
        return out["cache"], agree(out["logits"][:, :, :ids], guesses, guessed, rows)

    return call


def score_program(function: Function, ids: int) -> Callable[..., Any]:
    """Return (weights, tokens [1, L], adapter [1]) -> drawn [L - 1]: all but the first, judged."""
    def call(weights: Any, tokens: jax.Array, adapter: jax.Array) -> Drawn:
        out = function(weights, {"tokens": tokens, "adapter": adapter})
        logits = out["logits"][0, :-1, :ids]
        return judge(logits, tokens[0, 1:], jnp.ones(1, bool))

    return call
