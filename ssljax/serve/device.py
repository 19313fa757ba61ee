"""What runs on the accelerator: prefill a prompt, put it in a slot, decode all slots, score a text.

The slots share one cache of fixed shape. One compiled program decodes them all, busy or not, so a
row's numbers do not depend on who its neighbours are: the same request gives the same text at any
load. A prompt is read in a row of its own, in a bucket of a power of two tokens (one program a
bucket), and then copied into its slot. Right padding is harmless: what a pad wrote at its position
is overwritten by the token that comes there before any query looks at it.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ssljax.core.errors import ServeError
from ssljax.core.tree import unflatten
from ssljax.serve.artefact import Artefact, Function
from ssljax.serve.jobs import Job, Scored
from ssljax.serve.rows import Rows, idle_rows, make_row
from ssljax.serve.sampling import Drawn, draw, judge

SMALLEST_BUCKET = 32             # a shorter prompt costs about as much, and each bucket a compile

Cache = Any


class Device(NamedTuple):
    """The accelerator's side of an engine, called from one thread.

    slots, context: rows and entries a row of the shared cache
    new_cache: () -> an empty cache
    new_rows:  () -> idle rows
    make_row:  (job) -> its row, before its first token
    prefill:   (prompt, row) -> (the first token, the row's cache)
    insert:    (cache, row's cache, slot) -> cache; consumes the first
    decode:    (cache, rows) -> (cache, one token a slot); consumes the cache
    score:     (prompt) -> every token of the prompt after the first, judged
    warm_up:   () -> None; compiles all but score, which few requests need: the first of a bucket
               waits for its compilation, and so do the running streams
    """

    slots: int
    context: int
    new_cache: Callable[[], Cache]
    new_rows: Callable[[], Rows]
    make_row: Callable[[Job], Rows]
    prefill: Callable[[Sequence[int], Rows], tuple[Scored, Cache]]
    insert: Callable[[Cache, Cache, int], Cache]
    decode: Callable[[Cache, Rows], tuple[Cache, list[Scored]]]
    score: Callable[[Sequence[int]], list[Scored]]
    warm_up: Callable[[], None]


def make_device(artefact: Artefact, *, slots: int) -> Device:
    """Return the device functions of a decoder.

    Args:
        artefact: from load_artefact.
        slots: requests that decode together; the cache takes their number times its row.

    Raises:
        ServeError: the artefact is no decoder.
    """
    if artefact.manifest["kind"] != "decoder":
        raise ServeError(f"{artefact.path} is an {artefact.manifest['kind']}: it has no text to "
                         "complete. `ssljax serve` and `ssljax generate` take decoders.")
    context, ids = artefact.manifest["max_context"], artefact.tokenizer.vocab_size
    cache_spec = unflatten({name.removeprefix("cache/"): spec for name, spec
                            in artefact.manifest["functions"]["decode"]["inputs"].items()
                            if name.startswith("cache/")})

    def empty(rows: int, length: int) -> Cache:
        return jax.tree.map(lambda leaf: zeros(leaf, rows, length), cache_spec, is_leaf=is_spec)

    prefill = jax.jit(prefill_program(artefact.functions["prefill"], empty, ids))
    first = jax.jit(draw)            # apart from prefill, which is compiled for every bucket
    decode = jax.jit(decode_program(artefact.functions["decode"], ids), donate_argnums=1)
    score = jax.jit(score_program(artefact.functions["score"], ids))
    insert = jax.jit(insert_program(cache_spec), donate_argnums=0)

    new_rows = partial(idle_rows, slots, vocab=ids, context=context)

    def run_prefill(prompt: Sequence[int], row: Rows) -> tuple[Scored, Cache]:
        last = np.asarray([len(prompt) - 1], np.int32)
        logits, cache = prefill(artefact.weights, padded(prompt, context), last)
        return to_host(first(logits, row), row.report)[0], cache

    def run_decode(cache: Cache, rows: Rows) -> tuple[Cache, list[Scored]]:
        cache, drawn = decode(artefact.weights, cache, rows)
        return cache, to_host(drawn, rows.report)

    def run_score(prompt: Sequence[int]) -> list[Scored]:
        drawn = score(artefact.weights, padded(prompt, context))
        return to_host(drawn, [True] * (len(prompt) - 1))

    def warm_up() -> None:
        cache = empty(slots, context)
        for length in buckets(context):
            _, row = run_prefill([0] * length, idle_rows(1, vocab=ids, context=context))
            cache = insert(cache, row, 0)
        run_decode(cache, new_rows())

    return Device(slots, context, lambda: empty(slots, context), new_rows,
                  partial(make_row, vocab=ids, context=context), run_prefill, insert, run_decode,
                  run_score, warm_up)


def prefill_program(function: Function, empty: Callable[[int, int], Cache],
                    ids: int) -> Callable[..., Any]:
    """Return (weights, tokens [1, L], last [1]) -> (logits [1, ids], cache of L entries).

    Logits past the tokenizer's `ids` belong to rows that only pad the table: never drawn.
    """
    def call(weights: Any, tokens: jax.Array, last: jax.Array) -> tuple[jax.Array, Cache]:
        out = function(weights, {"tokens": tokens, "last": last, "cache": empty(*tokens.shape)})
        return out["logits"][:, :ids], out["cache"]

    return call


def decode_program(function: Function, ids: int) -> Callable[..., Any]:
    """Return (weights, cache, rows) -> (cache, drawn)."""
    def call(weights: Any, cache: Cache, rows: Rows) -> tuple[Cache, Drawn]:
        out = function(weights, {"token": rows.token, "position": rows.position, "cache": cache})
        return out["cache"], draw(out["logits"][:, :ids], rows)

    return call


def score_program(function: Function, ids: int) -> Callable[..., Any]:
    """Return (weights, tokens [1, L]) -> drawn [L - 1]: each token but the first, judged."""
    def call(weights: Any, tokens: jax.Array) -> Drawn:
        logits = function(weights, {"tokens": tokens})["logits"][0, :-1, :ids]
        return judge(logits, tokens[0, 1:], jnp.ones(1, bool))

    return call


def insert_program(cache_spec: Any) -> Callable[[Cache, Cache, int], Cache]:
    """Return (cache, cache of one row, slot) -> cache with the row's entries in that slot."""
    def call(cache: Cache, row: Cache, slot: int) -> Cache:
        def put(spec: dict[str, Any], whole: jax.Array, part: jax.Array) -> jax.Array:
            start = [slot if size == "b" else 0 for size in spec["shape"]]
            return jax.lax.dynamic_update_slice(whole, part, start)

        return jax.tree.map(put, cache_spec, cache, row, is_leaf=is_spec)

    return call


def is_spec(node: Any) -> bool:
    """Say whether a node of the cache's description describes one array."""
    return isinstance(node.get("shape"), list)


def zeros(spec: dict[str, Any], rows: int, length: int) -> jax.Array:
    """Return the empty array that `spec` describes, for b rows of t entries."""
    sizes = {"b": rows, "t": length}
    return jnp.zeros([sizes.get(n, n) for n in spec["shape"]], spec["dtype"])


def buckets(context: int) -> list[int]:
    """Return the lengths that prompts are padded to: powers of two, and the context itself."""
    powers = [SMALLEST_BUCKET]
    while powers[-1] < context:
        powers.append(2 * powers[-1])
    return [*powers[:-1], context]


def padded(prompt: Sequence[int], context: int) -> np.ndarray:
    """Return `prompt` as int32 [1, L] in the smallest bucket that holds it."""
    length = next(n for n in buckets(context) if n >= len(prompt))
    tokens = np.zeros((1, length), np.int32)
    tokens[0, :len(prompt)] = prompt
    return tokens


def to_host(drawn: Drawn, report: Sequence[bool]) -> list[Scored]:
    """Bring what was drawn to the host; waits for the device, so its failures surface here."""
    tokens, logprobs, top_tokens, top_logprobs = (x.tolist() for x in jax.device_get(drawn))
    return [Scored(token, logprob, tuple(zip(ids, values, strict=True)) if wanted else ())
            for token, logprob, ids, values, wanted
            in zip(tokens, logprobs, top_tokens, top_logprobs, report, strict=False)]
