"""Whose transcripts a caller may have: those of rounds between models that his key may use.

A round with one pane of another model is left out whole: the prompt is a part of it.
"""

import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from ssljax.serve.caller import Caller


def sees_all(caller: Caller) -> bool:
    """Say whether every transcript is for this caller."""
    return caller.admin or caller.models is None


def lines_for(caller: Caller, path: Path, elsewhere: Collection[str]) -> Iterator[bytes]:
    """Yield the lines of a journal of transcripts that are for this caller.

    Args:
        caller: whose key is for some models only.
        path: of the journal; a line that a crash has cut is left out.
        elsewhere: names of models of other servers, which are compared by whoever may use the page.
    """
    may = {*caller.models, *elsewhere}
    with path.open("rb") as lines:
        for line in lines:
            if models_of(line) <= may:
                yield line


def models_of(line: bytes) -> set[Any]:
    """Return the models in a transcript, without their versions; {None} where it is none."""
    try:
        return {pane["model"].partition("@")[0] for pane in json.loads(line)["panes"]}
    except (ValueError, TypeError, KeyError, AttributeError):
        return {None}
