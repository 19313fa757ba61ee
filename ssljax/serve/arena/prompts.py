"""Prompts worth keeping, shared by everyone who uses the page: one JSON file, replaced whole."""

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from ssljax.core.errors import RequestError, ServeError
from ssljax.core.files import write_json
from ssljax.serve.arena.asking import LONGEST_PROMPT
from ssljax.serve.checks import text

MOST = 500
LONGEST_NAME = 80


class Prompts(NamedTuple):
    """Saved prompts by name.

    all:    () -> name -> prompt
    save:   (name, prompt) -> None; a prompt of that name is replaced. RequestError: too long, too
            many, or no Unicode text
    forget: (name) -> None
    """

    all: Callable[[], dict[str, str]]
    save: Callable[[str, str], None]
    forget: Callable[[str], None]


def open_prompts(path: Path | None) -> Prompts:
    """Return the prompts in the file `path`; of None, those of this process.

    Raises:
        ServeError: the file is damaged.
    """
    saved: dict[str, str] = {}
    if path is not None and path.exists():
        try:
            saved = {str(k): str(v) for k, v in json.loads(path.read_text("utf-8")).items()}
        except (ValueError, AttributeError, OSError) as err:
            raise ServeError(f"{path} holds no saved prompts ({err}); mend or remove it.") from err
    alone = threading.Lock()

    def write() -> None:
        if path is not None:
            write_json(path, saved)

    def save(name: str, prompt: str) -> None:
        if not isinstance(name, str) or not 0 < len(name.strip()) <= LONGEST_NAME:
            raise RequestError(f"name: expected 1 to {LONGEST_NAME} characters.", param="name")
        if not isinstance(prompt, str) or not 0 < len(prompt) <= LONGEST_PROMPT:
            raise RequestError(f"prompt: expected 1 to {LONGEST_PROMPT} characters.",
                               param="prompt")
        with alone:
            if len(saved) >= MOST and name not in saved:
                raise RequestError(f"{MOST} prompts are saved, the most there may be; forget one.",
                                   status=409)
            saved[text("name", name.strip())] = text("prompt", prompt)
            write()

    def forget(name: str) -> None:
        with alone:
            saved.pop(name, None)
            write()

    return Prompts(lambda: dict(saved), save, forget)
