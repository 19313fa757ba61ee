"""Uploaded files and batches on disk: what survives a server that is killed.

    files/<id>/content, meta.json       an upload, or the output of a batch
    batches/<id>.json                   a batch, in OpenAI's shape and with its owner
    batches/.<id>.json.work/            its parts, while it runs

Each JSON file is written by one rename, after what it speaks of is on the disk; functions that
write wait for the disk, so call them in a thread.
"""

import json
import queue
import re
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ssljax.core.errors import RequestError
from ssljax.core.files import sync_file, sync_folder, write_json
from ssljax.serve.caller import Caller

ID = re.compile(r"(file|batch)-[0-9a-f]{24}")
Json = dict[str, Any]


class JobsFolder(NamedTuple):
    """Files and batches of all callers.

    add_file:   (path of the content, which moves, filename, purpose, owner, id="") -> its object
    file:       (id, caller) -> (object, path of its content). RequestError: none of his (404)
    files:      (caller) -> objects, the newest first
    delete:     (id, caller) -> None
    save_batch: (object with `owner`) -> None, a new one
    change:     (id, object -> object) -> the new object; one change at a time
    batch:      (id, caller) -> object. RequestError: none of his (404)
    batches:    (caller) -> objects, the newest first
    folder:     where all is
    """

    add_file: Callable[..., Json]
    file: Callable[[str, Caller], tuple[Json, Path]]
    files: Callable[[Caller], list[Json]]
    delete: Callable[[str, Caller], None]
    save_batch: Callable[[Json], None]
    change: Callable[[str, Callable[[Json], Json]], Json]
    batch: Callable[[str, Caller], Json]
    batches: Callable[[Caller], list[Json]]
    folder: Path


class Jobs(NamedTuple):
    """What a server offers of jobs: where they are, and where their runner is told of new ones."""

    folder: JobsFolder
    events: queue.SimpleQueue


def open_jobs(folder: Path) -> JobsFolder:
    """Return the jobs in `folder`, which is made if it is absent."""
    files, batches = folder / "files", folder / "batches"
    lock = threading.Lock()
    for each in (files, batches, folder / "incoming"):
        each.mkdir(parents=True, exist_ok=True)

    def add_file(content: Path, name: str, purpose: str, owner: str, identity: str = "") -> Json:
        identity = identity or new_id("file")
        place = files / identity
        place.mkdir(exist_ok=True)       # of a batch that was killed between rename and note
        about = {"id": identity, "object": "file", "bytes": content.stat().st_size,
                 "created_at": int(time.time()), "filename": name, "purpose": purpose,
                 "status": "processed", "owner": owner}
        sync_file(content)
        content.replace(place / "content")
        sync_folder(place)               # a power cut leaves no object whose content is not there
        write_json(place / "meta.json", about)
        sync_folder(place)
        sync_folder(files)
        return about

    def file(identity: str, caller: Caller) -> tuple[Json, Path]:
        about = read_own(files / checked(identity, "file") / "meta.json", caller, identity)
        return about, files / identity / "content"

    def delete(identity: str, caller: Caller) -> None:
        file(identity, caller)
        (files / identity / "meta.json").unlink()        # first: without it there is no file
        shutil.rmtree(files / identity)

    def save_batch(batch: Json) -> None:
        write_json(batches / f"{batch['id']}.json", batch)
        sync_folder(batches)

    def batch(identity: str, caller: Caller) -> Json:
        return read_own(batches / f"{checked(identity, 'batch')}.json", caller, identity)

    def change(identity: str, function: Callable[[Json], Json]) -> Json:
        with lock:
            save_batch(changed := function(batch(identity, Caller(admin=True))))
        return changed

    return JobsFolder(
        add_file, file, lambda caller: listing(files.glob("*/meta.json"), caller), delete,
        save_batch, change, batch,
        lambda caller: listing(batches.glob("batch-*.json"), caller), folder)


def new_id(kind: str) -> str:
    """Return an id that nobody guesses."""
    return f"{kind}-{secrets.token_hex(12)}"


def checked(identity: str, kind: str) -> str:
    """Return an id that may be part of a path.

    Raises:
        RequestError: it is none of ours (404).
    """
    if not ID.fullmatch(identity) or not identity.startswith(kind):
        raise missing(identity)
    return identity


def read_own(path: Path, caller: Caller, identity: str) -> Json:
    """Return an object if it is the caller's; an administrator's is all.

    Raises:
        RequestError: it is not there, or another's (404: others are not to learn that it is).
    """
    try:
        about = json.loads(path.read_text())
    except OSError as err:
        raise missing(identity) from err
    if not caller.admin and about["owner"] != caller.id:
        raise missing(identity)
    return about


def listing(paths: Any, caller: Caller) -> list[Json]:
    """Return the caller's objects among these files, the newest first."""
    found = [json.loads(path.read_text()) for path in paths]
    mine = [about for about in found if caller.admin or about["owner"] == caller.id]
    return sorted(mine, key=lambda about: (about["created_at"], about["id"]), reverse=True)


def missing(identity: str) -> RequestError:
    """Return the error of an id that is not there."""
    return RequestError(f"There is no {identity[:40]!r} here.", status=404, param="id",
                        code="not_found")


def public(about: Mapping[str, Any]) -> Json:
    """Return an object as clients see it."""
    return {name: value for name, value in about.items() if name != "owner"}
