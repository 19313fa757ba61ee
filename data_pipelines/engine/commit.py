"""Exactly once: a task's output is there whole, under a key of all it depends on, or not at all.

A stage's key is a hash of its inputs' keys, its parameters, the partitioning and the code; a task
is a folder below it. Output is written under a temporary name, flushed to the disk, and renamed;
the folder's existence is the commit. A run that was killed anywhere finds what was done, and two
writers of one task (a retried one, a second cluster node) leave one output, the first.
"""

import contextlib
import functools
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import data_pipelines
from data_pipelines.engine.plan import Call
from ssljax.core.files import sync_folder

DONE = "done.json"             # what a task said of its output, in its folder


def stage_key(*parts: Any) -> str:
    """Return the key of plain parts: 24 hexadecimal digits."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:24]


@functools.lru_cache(maxsize=1)
def code_version() -> str:
    """Return a hash of the source of this package: after a change nothing done before counts."""
    home = Path(data_pipelines.__file__).parent
    files = sorted(home.rglob("*.py"))
    return stage_key([[str(f.relative_to(home)), hashlib.sha256(f.read_bytes()).hexdigest()]
                      for f in files])


def run(call: Call) -> None:
    """Run a task and commit its output, unless it is committed."""
    folder = Path(call.folder)
    if folder.exists():
        return
    temporary = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}")
    temporary.mkdir(parents=True)
    try:
        say(temporary, call.function(temporary, **call.arguments))
        settle(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def settle(temporary: Path, folder: Path) -> None:
    """Flush a folder's files to the disk and give it its name, unless another has it."""
    for entry in temporary.iterdir():
        descriptor = os.open(entry, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    sync_folder(temporary)
    try:
        temporary.rename(folder)
    except OSError:
        if not folder.exists():
            raise
    sync_folder(folder.parent)


def say(folder: Path, told: Mapping[str, Any]) -> None:
    """Write what a task says of its output."""
    (folder / DONE).write_text(json.dumps(told))


def told(folder: str | Path) -> Mapping[str, Any]:
    """Return what a committed task said."""
    return json.loads((Path(folder) / DONE).read_bytes())


def prune(stage: Path) -> None:
    """Remove the temporary folders that killed writers left in a stage.

    Each is renamed first: a writer that lives on, on another node, must not commit what is left of
    a folder half removed.
    """
    for entry in stage.glob(".*"):
        doomed = entry.with_name(f".{uuid.uuid4().hex}")
        with contextlib.suppress(FileNotFoundError):    # it has just been committed
            entry.rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)
