"""Models that a recipe fits: made once, saved with what they were made of, and never mixed up.

A file is safetensors, so that reading it runs no code; its metadata holds the settings, SHA-256
sums of the examples among them. Where the file is there and its settings are these, it is read;
where they differ, that is an error, since documents judged by two models cannot be compared.
"""

import contextlib
import fcntl
import gzip
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from ssljax.core.errors import DataError
from ssljax.core.files import sha256, write_atomic

Tensors = dict[str, np.ndarray]
SUFFIXES = (".jsonl", ".jsonl.gz", ".txt", ".md", ".parquet")


def fitted(path: str, settings: Mapping[str, Any], sources: Sequence[str],
           fit: Callable[[], Tensors]) -> Tensors:
    """Return the model at `path`, fitted and written first where it is absent.

    Args:
        path: the model's file; processes that want it at once wait for the one that fits.
        settings: plain data that the model is a function of.
        sources: files and folders of examples.
        fit: makes the model.

    Raises:
        DataError: the file is damaged or of other settings, or examples are missing.
    """
    files = [file for source in sources for file in list_examples(source)]
    wanted = json.dumps({**settings, "examples": [sha256(f) for f in files]}, sort_keys=True)
    with only_one(Path(path)):
        if not Path(path).exists():
            write_atomic(Path(path), save(fit(), {"settings": wanted}))
        try:
            with safe_open(path, framework="numpy") as file:
                found = (file.metadata() or {}).get("settings", "")
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except SafetensorError as err:
            raise DataError(f"Model {path} is damaged: {err}. Remove it to fit it again.") from err
    if found != wanted:
        raise DataError(f"Model {path} was fitted with other settings or examples: {found[:300]}; "
                        f"expected {wanted[:300]}. Remove it, or choose another path.")
    return tensors


@contextlib.contextmanager
def only_one(path: Path) -> Iterator[None]:
    """Hold the model's lock; it ends with the process, so that a killed one blocks nobody."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f".{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def list_examples(source: str) -> list[Path]:
    """Return a file, or the files of a folder that hold examples, in order of path.

    Raises:
        DataError: there are none.
    """
    path = Path(source)
    files = sorted(f for f in path.rglob("*") if f.name.endswith(SUFFIXES)) if path.is_dir() else [
        path] if path.is_file() else []
    if not files:
        raise DataError(f"Examples {source}: nothing found; expected a file or a folder of "
                        f"{' '.join(SUFFIXES)}.")
    return files


def read_examples(source: str, field: str = "text") -> pa.ChunkedArray:
    """Return one field of every example; a text file is one example.

    Raises:
        DataError: a file cannot be read, or lacks the field.
    """
    parts = [read_file(file, field) for file in list_examples(source)]
    return pa.chunked_array([c for p in parts for c in p.chunks])


def read_file(file: Path, field: str) -> pa.ChunkedArray:
    """Return one field of every example of one file."""
    try:
        if file.suffix == ".parquet":
            found = pq.read_table(file, columns=[field])[field]
            return found.cast(pa.large_string()) if pa.types.is_string(found.type) else found
        if file.name.endswith((".jsonl", ".jsonl.gz")):
            with (gzip.open if file.suffix == ".gz" else open)(file, "rb") as lines:
                values = [json.loads(line)[field] for line in lines if line.strip()]
            typed = pa.large_string() if not values or isinstance(values[0], str) else None
            return pa.chunked_array([pa.array(values, typed)])
        return pa.chunked_array([pa.array([file.read_text("utf-8")], pa.large_string())])
    except (OSError, ValueError, KeyError, TypeError, EOFError) as err:
        raise DataError(f'Examples {file}: no field "{field}" can be read from it: {err!r}.'
                        ) from err
