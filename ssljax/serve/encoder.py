"""An artefact's embed, sequence and classify in batches of fixed shape, the same in any company.

A batch has a declared number of rows for its shape, the last ones zeros, and texts are padded to a
power of two tokens: a row's numbers are those of one program of one shape, whoever its neighbours
are (company.py says when more rows may run at once). A text longer than the model reads is cut into
windows; its vector is the mean over all their tokens. An example is what the manifest's operations
return (image), or the ids of a text without the start token, int32 [L], L at least 1.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import jax
import numpy as np

from ssljax.core.errors import RequestError, ServeError
from ssljax.serve import company
from ssljax.serve.adapters import PREFIX, Places, make_places
from ssljax.serve.artefact import Artefact, platform

SMALLEST_BUCKET = 32     # tokens; a shorter text costs about as much, and each bucket a compile
MOST_ROWS = 16
# Tokens of a declared batch, from which a CPU core is busy: ViT-S/16 (196 tokens) costs 156, 126
# and 117 CPU-ms an image at 1, 2 and 4 rows, and a lone image is not to pay for empty rows.
CPU_TOKENS = 256
PIXEL_VALUES = 768       # of an image count as a token: a patch of 16 by 16 in colour

FUNCTIONS = ("embed", "sequence", "classify")

Arrays = Mapping[str, np.ndarray]


class Part(NamedTuple):
    """One row of a batch.

    bucket: parts of equal buckets have arrays of equal shapes and share a program
    inputs: arrays by name, without the batch axis
    weight: how much it counts in what its example's parts add up to: tokens
    keep:   of an answer with a vector for each token, how many are not of padding; 0 keeps all
    """

    bucket: Hashable
    inputs: Arrays
    weight: float = 1.0
    keep: int = 0


class Encoder(NamedTuple):
    """An artefact's functions over parts, called from one thread.

    functions: which of FUNCTIONS the artefact has
    parts:     (function, example) -> its rows. RequestError: it does not fit the model
    rows:      bucket -> rows that may run at once
    run:       (bucket, at most that many parts) -> float32 [D] for each, or [T, D] of sequence
    warm_up:   () -> None; compiles what has one shape; texts compile by length, when one comes
    """

    functions: tuple[str, ...]
    parts: Callable[[str, np.ndarray], tuple[Part, ...]]
    rows: Callable[[Hashable], int]
    run: Callable[[Hashable, Sequence[Part]], list[np.ndarray]]
    warm_up: Callable[[], None]


def make_encoder(artefact: Artefact, *, rows: int = 0, adaptive: bool = False,
                 places: Places | None = None) -> Encoder:
    """Return the encoder of an artefact.

    Args:
        artefact: from load_artefact.
        rows: of every batch; chosen by shape and platform unless told. Numbers depend on it. Where
            it was chosen, CPUs take larger batches too if their rows have the same bits.
        adaptive: run a short batch at the next power of two of its rows: sooner, but then the last
            bits of an answer depend on its company.
        places: of adapters; empty ones unless told.

    Raises:
        ServeError: the artefact has none of FUNCTIONS.
    """
    functions = tuple(name for name in FUNCTIONS if name in artefact.functions)
    if not functions:
        raise ServeError(f"{artefact.path} has no function `embed`, only "
                         f"{', '.join(artefact.functions)}. `ssljax export` writes one for every "
                         "encoder and language model: export the run again.")
    programs = {name: jax.jit(artefact.functions[name]) for name in functions}
    places = places or make_places(artefact)

    def call(bucket: Hashable, inputs: Sequence[Arrays], size: int) -> np.ndarray:
        batch, stacks = stacked(inputs, size), places.stacks()
        batch |= {} if stacks is None else {"adapters": stacks}
        [answers] = jax.device_get(jax.tree.leaves(programs[bucket[0]](artefact.weights, batch)))
        return answers[:len(inputs)]

    def run(bucket: Hashable, parts: Sequence[Part]) -> list[np.ndarray]:
        inputs = [part.inputs for part in parts]
        sizes = split(bucket, inputs) if grows else [(slice(None), fitting(bucket, len(parts)))]
        rows = [row for which, size in sizes for row in call(bucket, inputs[which], size)]
        return [np.asarray(row[:part.keep or None], np.float32)
                for row, part in zip(rows, parts, strict=True)]

    def fitting(bucket: Hashable, count: int) -> int:
        most = rows_of(bucket)
        return min(most, 1 << (count - 1).bit_length()) if adaptive else most

    def rows_of(bucket: Hashable) -> int:
        return rows or default_rows(bucket[1], platform())

    def warm_up() -> None:
        for name in functions:
            if (shape := fixed_shape(artefact, name)) is not None:
                [part] = parts(name, np.zeros(shape, np.float32))
                adapted = places.stacks() is not None
                if adapted or not called(artefact, name, rows_of(part.bucket)):
                    run(part.bucket, [part])

    def most_of(bucket: Hashable) -> int:
        return max(rows_of(bucket), company.MOST) if grows else rows_of(bucket)

    grows = platform() == "cpu" and not rows and not adaptive
    split = company.make_split(call, rows_of)
    parts = text_parts(artefact) if artefact.tokenizer else partial(media_parts, artefact)
    return Encoder(functions, parts, most_of, run, warm_up)


def called(artefact: Artefact, function: str, rows: int) -> bool:
    """Say whether loading has called a program in this shape, to check its golden answers.

    Once more would tell nothing: it costs 0.15 CPU-seconds of a start for each of ViT-S's two.
    """
    golden = artefact.manifest["functions"][function].get("golden", {})
    return golden.get("sizes") == {"b": rows}


def at_place(part: Part, place: int) -> Part:
    """Return a row of the adapter at `place`."""
    return part._replace(inputs={**part.inputs, "adapter": np.asarray(place, np.int32)})


def default_rows(tokens: int, where: str) -> int:
    """Return the rows of a batch whose rows cost about as much as `tokens` tokens each."""
    if where != "cpu":
        return MOST_ROWS
    rows = max(1, min(MOST_ROWS, CPU_TOKENS // max(1, tokens)))
    return 1 << (rows.bit_length() - 1)


def stacked(inputs: Sequence[Arrays], rows: int) -> dict[str, np.ndarray]:
    """Return arrays [rows, ...] of at most that many inputs, zeros behind them."""
    def stack(name: str) -> np.ndarray:
        first = inputs[0][name]
        whole = np.zeros((rows, *first.shape), first.dtype)
        whole[:len(inputs)] = [each[name] for each in inputs]
        return whole

    return {name: stack(name) for name in inputs[0]}


def fixed_shape(artefact: Artefact, function: str) -> tuple[int, ...] | None:
    """Return the shape of a function's one input without its batch axis; None where it varies."""
    specs = list(artefact.manifest["functions"][function]["inputs"].values())
    shape = tuple(specs[0]["shape"][1:])
    return shape if len(specs) == 1 and all(isinstance(n, int) for n in shape) else None


def media_parts(artefact: Artefact, function: str, example: np.ndarray) -> tuple[Part, ...]:
    """Return the one row of an image, or of any medium of a fixed shape.

    Raises:
        RequestError: it has another shape.
    """
    [name], shape = artefact.manifest["functions"][function]["inputs"], fixed_shape(artefact,
                                                                                   function)
    if example.shape != shape:
        raise RequestError(f"{name} has shape {list(example.shape)}; the model reads "
                           f"{list(shape)}.", param="input")
    tokens = example.size // PIXEL_VALUES
    return (Part((function, tokens), {name: example.astype(np.float32, copy=False)}),)


def text_parts(artefact: Artefact) -> Callable[[str, np.ndarray], tuple[Part, ...]]:
    """Return (function, ids of a text) -> its windows."""
    context, start = artefact.manifest["max_context"], artefact.tokenizer.end_of_text

    def parts(function: str, ids: np.ndarray) -> tuple[Part, ...]:
        windows = cut(ids, context - 1)
        if function != "embed" and len(windows) > 1:
            raise RequestError(f"The text has {len(ids)} tokens; `{function}` reads at most "
                               f"{context - 1}. Shorten it.", param="input",
                               code="context_length_exceeded")
        return tuple(part(function, [start, *window]) for window in windows)

    def part(function: str, tokens: list[int]) -> Part:
        length = next(n for n in buckets(context) if n >= len(tokens))
        padded = np.zeros(length, np.int32)
        padded[:len(tokens)] = tokens
        inputs = {"tokens": padded, "last": np.asarray(len(tokens) - 1, np.int32),
                  "adapter": np.zeros((), np.int32)}
        read = [name for name in artefact.manifest["functions"][function]["inputs"]
                if not name.startswith(PREFIX)]
        return Part((function, length), {name: inputs[name] for name in read},
                    float(len(tokens)), len(tokens) if function == "sequence" else 0)

    return parts


def buckets(context: int) -> list[int]:
    """Return the lengths that texts are padded to: powers of two, and the context itself."""
    powers = [SMALLEST_BUCKET]
    while powers[-1] < context:
        powers.append(2 * powers[-1])
    return [*powers[:-1], context]


def cut(ids: np.ndarray, length: int) -> list[list[int]]:
    """Return ids in windows of at most `length`."""
    return [ids[at:at + length].tolist() for at in range(0, len(ids), length)]


def joined(parts: Sequence[Part], answers: Sequence[np.ndarray]) -> np.ndarray:
    """Return the answer of an example: the mean over its parts by their weights, float32."""
    if len(parts) == 1:
        return answers[0]
    weights = np.array([part.weight for part in parts])
    total = np.zeros(answers[0].shape)
    for weight, answer in zip(weights, answers, strict=True):    # in the text's order, always
        total += weight * answer
    return (total / weights.sum()).astype(np.float32)
