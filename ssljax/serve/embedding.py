"""One vector for each text or image, from an artefact's `embed`, the same in any company.

Rows are computed ROWS at a time, the last ones among zeros, and texts in buckets of a power of two
tokens: a row's numbers come from one program of one shape, whoever its neighbours are. A text
longer than the model reads is cut into windows, and its vector is the mean over all their tokens.
Reads an artefact and examples on the host; returns float32 arrays.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence

import jax
import numpy as np

from ssljax.core.errors import ServeError
from ssljax.serve.artefact import Artefact
from ssljax.serve.device import buckets, padded

ROWS = 16

Embed = Callable[[Sequence[np.ndarray]], np.ndarray]


def make_embed(artefact: Artefact) -> Embed:
    """Return (examples) -> float32 [n, D].

    Examples of an encoder are images as its manifest says, float32 [H, W, C]; those of a decoder
    are ids of one text without the start token, int32 [L], L at least 1.

    Raises:
        ServeError: the artefact has no `embed`.
    """
    if "embed" not in artefact.functions:
        raise ServeError(f"{artefact.path} has no function `embed`, only "
                         f"{', '.join(artefact.functions)}. `ssljax export` writes one for every "
                         "encoder and language model: export the run again.")
    program = jax.jit(artefact.functions["embed"])
    if artefact.manifest["kind"] == "decoder":
        return text_embed(artefact, program)

    def embed(images: Sequence[np.ndarray]) -> np.ndarray:
        return in_batches(lambda batch: program(artefact.weights, {"image": batch})["pooled"],
                          np.stack(images))

    return embed


def text_embed(artefact: Artefact, program: Callable) -> Embed:
    """Return (ids of texts) -> float32 [n, D] of a decoder."""
    context, start = artefact.manifest["max_context"], artefact.tokenizer.end_of_text

    def embed(texts: Sequence[np.ndarray]) -> np.ndarray:
        windows = [(i, [start, *part]) for i, ids in enumerate(texts)
                   for part in cut(ids, context - 1)]
        by_bucket = defaultdict(list)
        for number, (_, tokens) in enumerate(windows):
            by_bucket[next(n for n in buckets(context) if n >= len(tokens))].append(number)
        sums: np.ndarray | None = None
        weights = np.zeros(len(texts))
        for length in sorted(by_bucket):
            numbers = by_bucket[length]
            rows = np.concatenate([padded(windows[n][1], length) for n in numbers])
            last = np.array([len(windows[n][1]) - 1 for n in numbers], np.int32)
            pooled = in_batches(lambda tokens, last: program(
                artefact.weights, {"tokens": tokens, "last": last})["pooled"], rows, last)
            sums = np.zeros((len(texts), pooled.shape[1])) if sums is None else sums
            owners = np.array([windows[n][0] for n in numbers])
            # Windows of a text are added in their order within a bucket, and buckets in theirs.
            np.add.at(sums, owners, pooled * (last[:, None] + 1.0))
            np.add.at(weights, owners, last + 1.0)
        return (sums / weights[:, None]).astype(np.float32)

    return embed


def cut(ids: np.ndarray, length: int) -> list[list[int]]:
    """Return ids in windows of at most `length`."""
    return [ids[at:at + length].tolist() for at in range(0, len(ids), length)]


def in_batches(program: Callable[..., jax.Array], *arrays: np.ndarray) -> np.ndarray:
    """Return a program's float32 answers for n rows, called with ROWS at a time."""
    found = []
    for at in range(0, len(arrays[0]), ROWS):
        parts = [a[at:at + ROWS] for a in arrays]
        short = ROWS - len(parts[0])
        full = [np.pad(p, [(0, short)] + [(0, 0)] * (p.ndim - 1)) for p in parts]
        found.append(np.asarray(program(*full))[:ROWS - short])
    return np.concatenate(found)
