"""One vector for each of many texts or images at once, for jobs that have them all at hand.

The numbers are those that a server gives for the same artefact: both run encoder.py's batches.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np

from ssljax.core.errors import ServeError
from ssljax.serve.artefact import Artefact
from ssljax.serve.encoder import joined, make_encoder

Embed = Callable[[Sequence[np.ndarray]], np.ndarray]


def make_embed(artefact: Artefact, *, rows: int = 0) -> Embed:
    """Return (examples, as encoder.py has them) -> float32 [n, D].

    Args:
        artefact: from load_artefact.
        rows: of every batch; chosen by shape and platform unless told.

    Raises:
        ServeError: the artefact has no `embed`.
    """
    encoder = make_encoder(artefact, rows=rows)
    if "embed" not in encoder.functions:
        raise ServeError(f"{artefact.path} has no function `embed`; export the run again.")

    def embed(examples: Sequence[np.ndarray]) -> np.ndarray:
        parts = [encoder.parts("embed", example) for example in examples]
        places = defaultdict(list)                   # bucket -> (example, which of its parts)
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
        return np.stack([joined(*both) for both in zip(parts, answers, strict=True)])

    return embed
