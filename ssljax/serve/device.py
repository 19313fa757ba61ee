"""What runs on the accelerator: read a chunk of a prompt, decode all slots, score a text.

The rows of all slots share a cache in pages. One compiled program decodes them all, busy or not,
so a row's numbers do not depend on who its neighbours are: the same request gives the same text at
any load. A prompt is read in chunks that begin at multiples of a fixed size, the last of them in a
bucket of a power of two tokens (one program a bucket): how it is read follows from the prompt
alone. Right padding is harmless: what a pad wrote at its position is overwritten by the token that
comes there before any query looks at it, and what has no page goes to page 0, which nobody reads.

With several row buckets, decoding takes the smallest that holds the busy rows. Products of other
shapes round differently, so numbers then depend on the load.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Sharding

from ssljax.core.errors import ServeError
from ssljax.core.tree import unflatten
from ssljax.serve.adapters import Places, make_places, with_stacks
from ssljax.serve.artefact import Artefact
from ssljax.serve.fingerprint import fingerprint, ingredients
from ssljax.serve.jobs import Job, Scored
from ssljax.serve.layout import Layout, make_layout, powers
from ssljax.serve.mesh import HEADS, cache_sharding
from ssljax.serve.programs import decode_program, read_program, score_program, verify_program
from ssljax.serve.rows import Rows, idle_rows, make_row
from ssljax.serve.sampling import Drawn, draw
from ssljax.serve.speculate import look_up
from ssljax.serve.turned import as_stored

ENDS = 8              # tokens that end a row on the device; of more, the host finds the others
NO_TOKEN = -1

Cache = Any
Steps = list[list[Scored]]           # [step][row]


class Turn(NamedTuple):
    """What decoding needs beside the cache, of the rows of one bucket.

    rows:  settings and state
    table: i32 [B, N], pages of each row
    left:  i32 [B], tokens it may still generate; 0 for rows that are idle
    ends:  i32 [B, ENDS], tokens after which it is done, NO_TOKEN after the last
    """

    rows: Rows
    table: np.ndarray
    left: np.ndarray
    ends: np.ndarray


class Device(NamedTuple):
    """The accelerator's side of an engine, called from one thread.

    layout:      sizes
    end:         token that ends a text
    fingerprint: of all that decides the numbers
    new_cache:   () -> an empty cache
    new_rows:    () -> idle rows, one a slot
    make_row:    (job) -> its row, before its first token
    read:        (cache, tokens of a chunk, where it starts, pages [N], place of the adapter) ->
                 (cache, logits [1, ids] after its last token); consumes the cache
    first:       (logits, row) -> the first token
    decode:      (cache, turn, most steps) -> (cache, tokens of every step that was done); rows stop
                 at their end, and all stop when the last row has. Consumes the cache
    propose:     (cache, turn, most [B]) -> (cache, guesses [B, G], how many of each row count [B]),
                 no more than `most`. Consumes the cache; None where the layout has no guesses
    verify:      (cache, turn, guesses [B, G], how many of each row count [B]) -> (cache, tokens of
                 every step, guesses accepted [B]): a row's first accepted + 1 steps are its own.
                 Consumes the cache; None where the layout has no guesses
    score:       (prompt, place of the adapter) -> every token of the prompt after the first, judged
    warm_up:     () -> None; compiles all but score, which few requests need: the first of a bucket
                 waits for its compilation, and so do the running streams
    """

    layout: Layout
    end: int
    fingerprint: str
    new_cache: Callable[[], Cache]
    new_rows: Callable[[], Rows]
    make_row: Callable[[Job], Rows]
    read: Callable[..., tuple[Cache, jax.Array]]
    first: Callable[[jax.Array, Rows], Scored]
    decode: Callable[[Cache, Turn, int], tuple[Cache, Steps]]
    propose: Callable[[Cache, Turn, np.ndarray], tuple[Cache, np.ndarray, np.ndarray]] | None
    verify: Callable[[Cache, Turn, np.ndarray, np.ndarray], tuple[Cache, Steps, np.ndarray]] | None
    score: Callable[..., list[Scored]]
    warm_up: Callable[[], None]


def make_device(artefact: Artefact, *, slots: int, places: Places | None = None,
                **options: Any) -> Device:
    """Return the device functions of a decoder.

    Args:
        artefact: from load_artefact.
        slots: requests that decode together.
        places: of adapters; empty ones unless told.
        options: of make_layout.

    Raises:
        ServeError: the artefact is no decoder, or the sizes do not fit each other.
    """
    check_decoder(artefact)
    return device_of(artefact, make_layout(slots, artefact.manifest["max_context"], **options),
                     places or make_places(artefact))


def check_decoder(artefact: Artefact) -> None:
    """Raise ServeError unless the artefact is a decoder."""
    if artefact.manifest["kind"] != "decoder":
        raise ServeError(f"{artefact.path} is an {artefact.manifest['kind']}: it has no text to "
                         "complete. `ssljax serve` and `ssljax generate` take decoders.")


def device_of(artefact: Artefact, layout: Layout, places: Places) -> Device:
    """Return the device functions of a decoder in the sizes of `layout`."""
    context, ids, weights = layout.context, artefact.tokenizer.vocab_size, artefact.weights
    functions = {name: with_stacks(function) for name, function in artefact.functions.items()}
    spec = cache_spec(artefact)
    read = jax.jit(read_program(functions["prefill"], ids), donate_argnums=1)
    first = jax.jit(draw)            # apart from prefill, which is compiled for every bucket
    decode = jax.jit(decode_program(functions["decode"], ids, layout.steps), donate_argnums=1)
    verify = jax.jit(verify_program(functions["verify"], ids), donate_argnums=1)
    score = jax.jit(score_program(functions["score"], ids))

    sharding = cache_sharding(weights, heads_of(spec))
    # For one row the compiler takes no transpose into a product; prompts have more.
    for_decoding = as_stored(weights) if layout.rows == (1,) else weights

    def new_cache() -> Cache:
        return jax.tree.map(lambda leaf: zeros(leaf, layout, sharding), spec, is_leaf=is_spec)

    def run_read(cache: Cache, tokens: Sequence[int], start: int, table: np.ndarray,
                 place: int = 0) -> tuple[Cache, jax.Array]:
        return read((weights, places.stacks()), cache, padded(tokens, layout.buckets), one(start),
                    one(len(tokens) - 1), table[None], one(place))

    def run_first(logits: jax.Array, row: Rows) -> Scored:
        return to_host(first(logits, row), row.report)[0]

    def run_decode(cache: Cache, turn: Turn, steps: int) -> tuple[Cache, Steps]:
        cache, done, drawn = decode((for_decoding, places.stacks()), cache, *turn, np.int32(steps))
        return cache, each_step(drawn, int(done), turn.rows.report)

    def propose(cache: Cache, turn: Turn, most: np.ndarray) -> tuple[Cache, np.ndarray, np.ndarray]:
        return cache, *look_up(turn.rows, most, layout.guesses)

    def run_verify(cache: Cache, turn: Turn, guesses: np.ndarray,
                   guessed: np.ndarray) -> tuple[Cache, Steps, np.ndarray]:
        cache, found = verify((weights, places.stacks()), cache, turn.rows, turn.table, turn.left,
                              guesses, guessed)
        accepted = np.asarray(found.accepted)
        return cache, each_step(found.drawn, int(accepted.max()) + 1, turn.rows.report), accepted

    def run_score(prompt: Sequence[int], place: int = 0) -> list[Scored]:
        drawn = score((weights, places.stacks()), padded(prompt, powers(context)), one(place))
        return to_host(drawn, [True] * (len(prompt) - 1))

    def warm_up() -> None:
        cache, table = new_cache(), np.zeros(layout.table, np.int32)
        for length in layout.buckets:
            cache, logits = run_read(cache, [0] * length, 0, table)
        run_first(logits, idle_rows(1, vocab=ids, context=context))
        for rows in layout.rows:
            turn = new_turn(idle_rows(rows, vocab=ids, context=context), layout)
            if layout.guesses:
                none = np.zeros((rows, layout.guesses), np.int32)
                cache, *_ = run_verify(cache, turn, none, np.zeros(rows, np.int32))
            else:
                cache, _ = run_decode(cache, turn, 1)

    return Device(layout, artefact.tokenizer.end_of_text,
                  fingerprint(ingredients(artefact, layout)), new_cache,
                  partial(idle_rows, layout.slots, vocab=ids, context=context),
                  partial(make_row, vocab=ids, context=context), run_read, run_first, run_decode,
                  propose if layout.guesses else None, run_verify if layout.guesses else None,
                  run_score, warm_up)


def new_turn(rows: Rows, layout: Layout) -> Turn:
    """Return a turn of idle `rows`."""
    count = len(rows.token)
    return Turn(rows, np.zeros((count, layout.table), np.int32), np.zeros(count, np.int32),
                np.full((count, ENDS), NO_TOKEN, np.int32))


def cache_spec(artefact: Artefact) -> Any:
    """Return what the manifest says of the cache: nested dicts of shape and dtype."""
    inputs = artefact.manifest["functions"]["decode"]["inputs"]
    return unflatten({name.removeprefix("cache/"): spec for name, spec in inputs.items()
                      if name.startswith("cache/")})


def is_spec(node: Any) -> bool:
    """Say whether a node of the cache's description describes one array."""
    return isinstance(node.get("shape"), list)


def heads_of(spec: Any) -> int:
    """Return how many heads a cache has, by the description of any of its arrays."""
    return jax.tree.leaves(spec, is_leaf=is_spec)[0]["shape"][HEADS]


def zeros(spec: dict[str, Any], layout: Layout, sharding: Sharding) -> jax.Array:
    """Return the empty array that `spec` describes: m pages of p tokens, page 0 besides.

    Told where, it is as bound to its devices as what programs return; else each would be compiled
    twice, for a fresh cache and for one in use.
    """
    sizes = {"m": layout.pages + 1, "p": layout.page}
    return jnp.zeros([sizes.get(n, n) for n in spec["shape"]], spec["dtype"], device=sharding)


def one(value: int) -> np.ndarray:
    """Return an int32 of one row."""
    return np.full(1, value, np.int32)


def padded(tokens: Sequence[int], buckets: Sequence[int]) -> np.ndarray:
    """Return `tokens` as int32 [1, L] in the smallest bucket that holds them."""
    row = np.zeros((1, next(n for n in buckets if n >= len(tokens))), np.int32)
    row[0, :len(tokens)] = tokens
    return row


def each_step(drawn: Drawn, done: int, report: Sequence[bool]) -> Steps:
    """Bring the first `done` steps of what was drawn, [steps, B, ...], to the host."""
    drawn = jax.device_get(drawn)
    return [to_host(jax.tree.map(lambda x, n=n: x[n], drawn), report) for n in range(done)]


def to_host(drawn: Drawn, report: Sequence[bool]) -> list[Scored]:
    """Bring what was drawn to the host; waits for the device, so its failures surface here."""
    tokens, logprobs, top_tokens, top_logprobs = (x.tolist() for x in jax.device_get(drawn))
    return [Scored(token, logprob, tuple(zip(ids, values, strict=True)) if wanted else ())
            for token, logprob, ids, values, wanted
            in zip(tokens, logprobs, top_tokens, top_logprobs, report, strict=False)]
