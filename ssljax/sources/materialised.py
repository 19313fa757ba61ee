"""A stream without random access, written out once so that it has it.

    source = dict(name="materialised", stream=dict(name="mylab.crawl", path="crawl/"), version="1")

`mylab.crawl` is a module whose make(*, path) returns any iterable of mappings: a generator, a Grain
IterDataset, a reader of a queue. It is read once, in order, into the cache; from then on the run
reads the copy. A source of ours may be named too: a Parquet file with huge row groups, for one.
Returns {"id": uint32 [2], **fields}.
"""

import dataclasses
import functools
import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ssljax.core.cache import entry
from ssljax.core.config import find_make, resolve
from ssljax.core.errors import ConfigError, DataError, UnreadableRecordError
from ssljax.core.files import write_json
from ssljax.core.rng import record_id
from ssljax.core.source import Record, Source, Vocabulary, windows
from ssljax.sources.filtered import code_hash
from ssljax.sources.mixture import refuse_mixture
from ssljax.sources.record import decode, encode


def make(*, stream: Mapping[str, Any], version: str, limit: int = 0, tokenizer_path: str = "",
         cache: str) -> Source:
    """Return the records of `stream`, by random access.

    Args:
        stream: dict(name=a module with make, or one of ssljax.sources, **arguments).
        version: raise it when the stream would give other records than the copy in the cache.
        limit: stop after so many records; needed where the stream has no end. 0 reads all.
        tokenizer_path: the tokenizer.json that made "tokens", where there are any.
        cache: folder of the copy.

    Raises:
        ConfigError: what it names is no stream of records.
        DataError: it is empty, or a record cannot be stored.
    """
    module = find_make("sources", stream["name"]).__module__
    key = {"stream": stream, "code": code_hash(module), "version": version, "limit": limit}

    def write(folder: Path) -> None:
        opened = resolve("sources", stream, where="source.stream", cache=cache)
        write_records(folder, itertools.islice(records_of(opened, stream), limit or None))

    return open_store(entry(cache, "streams", key, write), f"stream {stream['name']} {version}",
                      tokenizer_path=tokenizer_path)


def records_of(opened: Any, stream: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the records of a source or of any iterable.

    Raises:
        ConfigError: it is neither.
    """
    refuse_mixture(opened, "source.stream")
    if isinstance(opened, Source):
        yield from itertools.chain.from_iterable(windows(opened))
    elif isinstance(opened, Iterable):
        yield from opened
    else:
        raise ConfigError(f"source.stream {stream['name']!r} made a {type(opened).__name__}; "
                          "expected an iterable of mappings, field -> value.")


def write_records(folder: Path, records: Iterable[Mapping[str, Any]]) -> None:
    """Write records end to end, their offsets, and a hash of the content; "id" is left out.

    Raises:
        DataError: one is unreadable or no mapping, or there are none.
    """
    digest, offsets = hashlib.sha256(), [0]
    with (folder / "records.bin").open("wb") as file:
        for record in records:
            if isinstance(record, UnreadableRecordError):
                raise record
            if not isinstance(record, Mapping):
                raise DataError(f"Record {len(offsets) - 1} of the stream is a "
                                f"{type(record).__name__}; expected a mapping, field -> value.")
            data = encode({k: v for k, v in record.items() if k != "id"})
            digest.update(data)
            file.write(data)
            offsets.append(offsets[-1] + len(data))
    if len(offsets) == 1:
        raise DataError("The stream is empty; nothing to train on.")
    np.array(offsets, "<i8").tofile(folder / "offsets.i8")
    digest.update(np.array(offsets, "<i8").tobytes())
    write_json(folder / "about.json", {"sha256": digest.hexdigest()[:16]})


def open_store(folder: Path, name: str, *, tokenizer_path: str = "",
               vocabulary: Vocabulary | None = None) -> Source:
    """Return the source over what `write_records` left in `folder`."""
    about = json.loads((folder / "about.json").read_text("utf-8"))
    return RecordStore(str(folder), name, about["sha256"], tokenizer_path, vocabulary)


class Opened(NamedTuple):
    """The mapped files of a store: offsets int64 [records + 1] and bytes."""

    offsets: np.ndarray
    data: np.ndarray


@functools.cache
def open_files(folder: str) -> Opened:
    """Map a store into memory, once a process."""
    return Opened(np.asarray(np.memmap(Path(folder, "offsets.i8"), "<i8", "r")),
                  np.asarray(np.memmap(Path(folder, "records.bin"), np.uint8, "r")))


@dataclasses.dataclass(frozen=True)
class RecordStore:
    """Records in a folder; holds its path, so that it pickles small.

    folder:         where they are
    name:           of the stream, for the fingerprint
    sha256:         of the content
    tokenizer_path: of the tokenizer.json that made "tokens", or empty
    vocabulary:     of "tokens", where no tokenizer.json of ours describes it
    """

    folder: str
    name: str
    sha256: str
    tokenizer_path: str
    vocabulary: Vocabulary | None

    def __len__(self) -> int:
        """Return the number of records."""
        return len(open_files(self.folder).offsets) - 1

    def read(self, indices: np.ndarray) -> list[Record]:
        """Return the records at `indices`."""
        offsets, data = open_files(self.folder)
        spans = [(int(i), int(offsets[i]), int(offsets[i + 1])) for i in indices]
        return [{"id": record_id(self.sha256, i), **decode(data[low:high].tobytes())}
                for i, low, high in spans]

    def fingerprint(self) -> Mapping[str, str]:
        """Return the stream's name and a hash of the content."""
        return {"stream": self.name, "sha256": self.sha256}
