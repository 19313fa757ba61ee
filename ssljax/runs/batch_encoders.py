"""What an encoder says of every row of a table: a vector, vectors of tokens or patches, classes.

A cell is read as a request's `input` is and prepared by the manifest's operations; batches are the
server's. So a row has the bits of the answers of /v1/embeddings, /classify and KServe's /infer.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ssljax.core.errors import DataError, RequestError, UnreadableRecordError
from ssljax.runs.batch_answers import Answer
from ssljax.runs.batch_tables import Row, answered
from ssljax.serve.artefact import Artefact
from ssljax.serve.checks import show
from ssljax.serve.embedding import encoder_for, run_all
from ssljax.serve.encoder import Part
from ssljax.serve.encoding import check_finite
from ssljax.serve.inputs import (
    is_url,
    media_of,
    medium_of,
    prepared,
    read_text,
    unwrapped,
)
from ssljax.serve.labels import judged
from ssljax.serve.parts import in_parts

COLUMNS = {"embed": ("row", "embedding", "error"), "sequence": ("row", "sequence", "error"),
           # `label` is what many inputs call the truth, so it is not what we call the guess.
           "classify": ("row", "predicted", "probs", "labels", "error")}
# Rows that are read before they run: ids are small, and 64 images of 224 by 224 are 38 MB.
TEXTS, MEDIA = 1024, 64
REFUSALS = (UnreadableRecordError, DataError, RequestError)

Columns = Mapping[str, Any]


class Function(NamedTuple):
    """One function of an artefact.

    parts:   (cell) -> its rows of batches. One of REFUSALS: it cannot be read, or does not fit
    answers: (rows of batches of several cells) -> a row's columns for each; or why it has none
    empty:   what a row without an answer has
    held:    rows that are read before they run
    """

    parts: Callable[[Any], tuple[Part, ...]]
    answers: Callable[[Sequence[tuple[Part, ...]]], list[Columns | Exception]]
    empty: Columns
    held: int


def function_of(artefact: Artefact, function: str, top: int | None = None) -> Function:
    """Return a function of an artefact.

    Args:
        artefact: from load_artefact.
        function: of COLUMNS.
        top: of classify: only so many classes, the most probable first; None for all.

    Raises:
        ServeError: the artefact does not have it.
    """
    encoder = encoder_for(artefact, function)

    def columns(answer: np.ndarray) -> Columns | Exception:
        try:
            check_finite([answer])
        except RequestError as err:
            return err
        if function != "classify":
            return {COLUMNS[function][1]: answer}
        found = judged(artefact, answer, top)
        return {"predicted": found["label"], "probs": found["probs"], "labels": found["labels"]}

    return Function(lambda cell: encoder.parts(function, example_of(artefact, cell)),
                    lambda parts: [columns(answer) for answer in run_all(encoder, parts)],
                    dict.fromkeys(COLUMNS[function][1:]), TEXTS if artefact.tokenizer else MEDIA)


def example_of(artefact: Artefact, cell: Any) -> np.ndarray:
    """Return what a cell holds as the network reads it.

    Raises:
        UnreadableRecordError: its record could not be read.
        RequestError: it is not of this model, or damaged.
    """
    if isinstance(cell, UnreadableRecordError):
        raise cell
    if artefact.tokenizer is not None:
        return read_text(cell, artefact.tokenizer)
    [(name, operations)] = media_of(artefact).items()
    if not isinstance(cell, bytes | np.ndarray):
        cell = medium_of(here(unwrapped(cell, (name,))), (name,))
    return prepared(cell, operations)


def here(value: Any) -> Any:
    """Return what a cell spells unless it is a URL: what is there may change while a job waits.

    Raises:
        RequestError: it is one.
    """
    if is_url(value):
        raise RequestError(f"the row holds the URL {show(value)}; expected the data itself.")
    return value


def encodes(function: Function, column: str) -> Answer:
    """Return what encodes the rows of a part."""
    def answer(rows: Sequence[Row], first: int) -> list[dict[str, Any]]:
        given = [one for some in in_parts(rows, function.held) for one in encoded(function, some)]
        return answered(rows, first, column, given)

    return answer


def encoded(function: Function, rows: Sequence[Row]) -> list[Columns]:
    """Return our columns of some rows."""
    found: dict[int, Any] = {}
    for at, row in enumerate(rows):
        try:
            found[at] = function.parts(row.cell)
        except REFUSALS as err:
            found[at] = err
    good = [at for at, one in found.items() if not isinstance(one, Exception)]
    found |= zip(good, function.answers([found[at] for at in good]), strict=True)
    return [{**function.empty, **({"error": str(one)} if isinstance(one, Exception) else one)}
            for one in found.values()]
