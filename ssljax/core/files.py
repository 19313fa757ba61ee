"""Files that are whole or absent: atomic writes, checksums. Free of jax."""

import hashlib
import json
import os
import pathlib
from typing import Any


def write_atomic(path: pathlib.Path, data: bytes) -> None:
    """Write `data` so that a reader, or a crash, sees the old file or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def write_json(path: pathlib.Path, value: Any) -> None:
    """Write `value` as readable JSON, atomically."""
    write_atomic(path, (json.dumps(value, indent=2, sort_keys=True) + "\n").encode())


def read_json_lines(path: pathlib.Path) -> list[dict[str, Any]]:
    """Return the objects of a JSON-lines file, none if it is absent; cut lines are left out.

    A crash while a line is being written leaves a part of it; everything before is good.
    """
    rows = []
    for line in path.read_text().splitlines() if path.is_file() else []:
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return rows


def sync_folder(folder: pathlib.Path) -> None:
    """Make renames inside `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file(path: pathlib.Path) -> None:
    """Make the content of a file survive a power cut, whoever wrote it."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def sha256(path: pathlib.Path) -> str:
    """Return the hex SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
