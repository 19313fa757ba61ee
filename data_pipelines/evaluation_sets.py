"""The items of evaluation sets as texts to search a corpus for.

Reads JSON-lines files as the usual harnesses have them (question and answer, query and choices,
context and continuation, options of a context, prompt and solution); the file's name is the set's.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ssljax.core.errors import DataError

QUESTIONS = ("question", "query", "prompt", "context", "context_options", "premise", "text")
ANSWERS = ("choices", "continuation", "canonical_solution", "answer")
BRIEF = 13                     # words below which an item is searched for with its answer
LABELS = ("Question:", "Q:", "Problem:")


class Items(NamedTuple):
    """Items of evaluation sets.

    names: set and line of each, "gsm8k_test:17"
    texts: what a leak would have
    """

    names: tuple[str, ...]
    texts: tuple[str, ...]

    def sets(self) -> list[str]:
        """Return the set of each item."""
        return [n.rpartition(":")[0] for n in self.names]


def read_items(path: str) -> Items:
    """Return the items of a .jsonl file or of all such files in a folder, in order of name.

    Raises:
        DataError: nothing there, or a line that is no item.
    """
    place = Path(path)
    files = sorted(place.glob("*.jsonl")) if place.is_dir() else [place]
    if not files or not all(f.is_file() for f in files):
        raise DataError(f"{path} has no evaluation set; expected a .jsonl file or a folder of "
                        "such files.")
    read = [(f"{f.stem}:{n}", item_text(line, f"{f}:{n}")) for f in files
            for n, line in enumerate(f.read_text("utf-8").split("\n")) if line.strip()]
    names, texts = zip(*read, strict=True) if read else ((), ())
    return Items(names, texts)


def item_text(line: str, where: str) -> str:
    """Return the text of one line: the question, with its answer where it is brief or incomplete.

    Raises:
        DataError: not an object with one of QUESTIONS.
    """
    try:
        fields = json.loads(line)
        key = next(q for q in QUESTIONS if q in fields)
    except (ValueError, TypeError, StopIteration) as err:
        raise DataError(f"{where} is no item of an evaluation set; expected a JSON object with "
                        f"one of {', '.join(QUESTIONS)}.") from err
    text = chosen(fields, key)
    for label in LABELS:
        text = text.removeprefix(label).strip()
    if key == "context_options" or len(text.split()) < BRIEF:
        answer = next((chosen(fields, a) for a in ANSWERS if a in fields), "")
        text = f"{text} {answer}"
    return text.strip()


def chosen(fields: Mapping[str, Any], key: str) -> str:
    """Return a field as text: of several options, the right one."""
    value = fields[key]
    if isinstance(value, list):
        right = fields.get("gold", fields.get("label", 0))
        value = value[right] if isinstance(right, int) and 0 <= right < len(value) else value[0]
    return str(value)
