"""An append-only file of JSON lines that survives a crash at any byte.

A line is one write followed by fsync, so it is there once `append` returns; a line that a crash cut
is left out when read, and the next line does not grow out of it. Only the owner may read the file:
it holds what people typed.
"""

import json
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ssljax.core.errors import ServeError
from ssljax.core.files import read_json_lines


class Journal(NamedTuple):
    """A file of records.

    path:   of the file
    append: (record) -> None, once it is on the disk; from any thread
    read:   () -> all records, the oldest first
    close:  () -> None
    """

    path: Path
    append: Callable[[Mapping[str, Any]], None]
    read: Callable[[], list[dict[str, Any]]]
    close: Callable[[], None]


def open_journal(path: Path) -> Journal:
    """Open the journal at `path`, made if it is not there.

    Raises:
        ServeError: the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    except OSError as err:
        raise ServeError(f"{path} cannot be written ({err.strerror}); choose another folder with "
                         "--arena-folder FOLDER.") from err
    end_cut_line(file)
    alone = threading.Lock()

    def append(record: Mapping[str, Any]) -> None:
        line = (json.dumps(record, ensure_ascii=True, sort_keys=True) + "\n").encode()
        with alone:
            while line:                              # a full disk writes a part, then raises
                line = line[os.write(file, line):]
            os.fsync(file)

    return Journal(path, append, lambda: read_json_lines(path), lambda: os.close(file))


def end_cut_line(file: int) -> None:
    """End the last line of an open file, if a crash has left it without its end."""
    size = os.fstat(file).st_size
    if size and os.pread(file, 1, size - 1) != b"\n":
        os.write(file, b"\n")
