"""An encoder's answers to many texts or images at once, for jobs that have them all at hand.

The numbers are those that a server gives for the same artefact: both run encoder.py's batches.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np

from ssljax.core.errors import ServeError
from ssljax.serve.artefact import Artefact
from ssljax.serve.encoder import Encoder, Part, joined, make_encoder

Embed = Callable[[Sequence[np.ndarray]], np.ndarray]

HOW = {"classify": "it comes with `ssljax export --classify LABEL`"}


def make_embed(artefact: Artefact, *, rows: int = 0) -> Embed:
    """Return (examples, as encoder.py has them) -> float32 [n, D].

    Args:
        artefact: from load_artefact.
        rows: of every batch; chosen by shape and platform unless told.

    Raises:
        ServeError: the artefact has no `embed`.
    """
    encoder = encoder_for(artefact, "embed", rows=rows)

    def embed(examples: Sequence[np.ndarray]) -> np.ndarray:
        return np.stack(run_all(encoder, [encoder.parts("embed", one) for one in examples]))

    return embed


def encoder_for(artefact: Artefact, function: str, *, rows: int = 0) -> Encoder:
    """Return the encoder of an artefact that has `function`.

    Raises:
        ServeError: it has not.
    """
    encoder = make_encoder(artefact, rows=rows)
    if function not in encoder.functions:
        raise ServeError(f"{artefact.path} has no function `{function}`, only "
                         f"{', '.join(encoder.functions)}; "
                         f"{HOW.get(function, 'export the run again')}.")
    return encoder


def run_all(encoder: Encoder, parts: Sequence[Sequence[Part]]) -> list[np.ndarray]:
    """Return the answer of each example, whose rows are given, in as few batches as they fill."""
    places = defaultdict(list)                       # bucket -> (example, which of its parts)
    for at, several in enumerate(parts):
        for number, part in enumerate(several):
            places[part.bucket].append((at, number))
    answers = [[None] * len(several) for several in parts]
    for bucket, where in places.items():
        rows = encoder.rows(bucket)
        for low in range(0, len(where), rows):
            some = where[low:low + rows]
            found = encoder.run(bucket, [parts[at][number] for at, number in some])
            for (at, number), answer in zip(some, found, strict=True):
                answers[at][number] = answer
    return [joined(*both) for both in zip(parts, answers, strict=True)]
