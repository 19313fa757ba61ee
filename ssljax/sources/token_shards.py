"""Curated token shards: documents as ids, by random access through memory maps.

    <dataset>/manifest.json     the contract, ssljax.sources.manifest
    <dataset>/tokenizer.json    what made the ids
    <dataset>/<split>/00000.tokens    the documents' ids end to end, without boundary tokens:
                                      little-endian uint16, uint32 from a vocabulary of 65,536
    <dataset>/<split>/00000.offsets   little-endian int64 [documents + 1]: where each starts

Reads such a folder; returns records {"id": uint32 [2], "tokens": int32 [n]}.
"""

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ssljax.core.errors import DataError, nearest
from ssljax.core.rng import record_id
from ssljax.core.source import Source
from ssljax.sources.manifest import Verify, read_manifest
from ssljax.sources.manifest import verify as verify_dataset

OFFSETS_DTYPE = np.dtype("<i8")


def tokens_dtype(vocab_size: int) -> np.dtype:
    """Return the type that ids of a vocabulary are stored in."""
    return np.dtype("<u2" if vocab_size < 65536 else "<u4")


def make(*, path: str, split: str = "train", version: str = "",
         verify: Verify = "checksum") -> Source:
    """Open one split of the dataset at `path`.

    Args:
        path: the dataset's folder.
        split: "train" or "validation".
        version: of the document table that the shards must be made from, or the beginning of it, as
            `ssljax data ls` prints it; empty takes what is there.
        verify: "checksum" reads every byte once, about 1 GB/s; "size" looks at sizes only.

    Raises:
        DataError: no dataset there, no such split, another version, or a file that is not what the
            manifest says.
    """
    manifest = read_manifest(path)
    if not manifest.version.startswith(version):
        raise DataError(f"Dataset {path} is version {manifest.version}; source.version asks for "
                        f"{version}. `ssljax curate` into a folder of its own makes another, or "
                        "name the one that is there.")
    if split not in manifest.splits:
        raise DataError(f'Dataset {path} has no split "{split}"; {nearest(split, manifest.splits)}')
    if not manifest.vocab_size:
        raise DataError(f"Dataset {path} holds no tokens but {manifest.shards[0].path} and such; "
                        'read it by source=dict(name="parquet" or "array_record" or "images", '
                        f'path="{path}/{split}").')
    verify_dataset(path, manifest, verify)
    return TokenShards(path, split, manifest.version, manifest.tokenizer_hash, manifest.vocab_size,
                       manifest.recipe_hash, manifest.splits[split]["text_bytes"])


@dataclasses.dataclass(frozen=True)
class TokenShards:
    """One split of a curated dataset; holds no open file, so that it pickles small.

    path, split:    where it is
    version:        the dataset's content hash
    tokenizer_hash: sha256 of tokenizer.json
    vocab_size:     number of ids, boundary tokens included
    recipe_hash:    of the recipe that made it
    text_bytes:     UTF-8 bytes of the split's text
    """

    path: str
    split: str
    version: str
    tokenizer_hash: str
    vocab_size: int
    recipe_hash: str
    text_bytes: int

    @property
    def tokenizer_path(self) -> str:
        """Return the path of the tokenizer.json that made the ids."""
        return str(Path(self.path) / "tokenizer.json")

    def __len__(self) -> int:
        """Return the number of documents."""
        return int(self._shards.starts[-1])

    def read(self, indices: np.ndarray) -> list[dict[str, Any]]:
        """Return {"id": uint32 [2], "tokens": int32 [n]} of the documents at int64 [n] `indices`.

        Raises:
            IndexError: an index is not in [0, len).
        """
        return [self._record(int(i)) for i in indices]

    def lengths(self) -> np.ndarray:
        """Return the number of tokens of each document, int64 [len]."""
        return np.concatenate([np.diff(o) for o in self._shards.offsets])

    def fingerprint(self) -> Mapping[str, str]:
        """Return the dataset's version, its recipe, its tokenizer and the split."""
        return {"version": self.version, "recipe": self.recipe_hash[:12],
                "tokenizer": self.tokenizer_hash, "split": self.split}

    @property
    def _shards(self) -> "Shards":
        return open_shards(self.path, self.split, self.version)

    def _record(self, index: int) -> dict[str, Any]:
        starts, offsets, tokens = self._shards
        if not 0 <= index < starts[-1]:
            raise IndexError(f"document {index} of {self.path} {self.split}; it has {len(self)}")
        shard = int(np.searchsorted(starts, index, side="right")) - 1
        first, last = offsets[shard][index - starts[shard]:][:2]
        return {"id": record_id(f"{self.version}/{self.split}", index),
                "tokens": tokens[shard][first:last].astype(np.int32)}


class Shards(NamedTuple):
    """The open files of a split.

    starts:  int64 [shards + 1], the index of the first document of each shard, and the end
    offsets: of each shard int64 [documents + 1]
    tokens:  of each shard unsigned [tokens], a memory map
    """

    starts: np.ndarray
    offsets: tuple[np.ndarray, ...]
    tokens: tuple[np.ndarray, ...]


@functools.lru_cache(maxsize=64)
def open_shards(path: str, split: str, version: str) -> Shards:
    """Map the files of a split into memory, once a process; threads may share the result.

    Raises:
        DataError: another dataset has taken this one's place, or an offsets file disagrees
            with the manifest.
    """
    manifest = read_manifest(path)
    if manifest.version != version:
        raise DataError(f"Dataset {path} is now version {manifest.version}; this run began with "
                        f"{version}. Curate into a new folder rather than over one in use.")
    shards = [s for s in manifest.shards if s.split == split]
    dtype = tokens_dtype(manifest.vocab_size)
    offsets = tuple(read_offsets(Path(path, s.path).with_suffix(".offsets"), s.records, s.tokens)
                    for s in shards)
    tokens = tuple(map_tokens(Path(path, s.path), dtype) for s in shards)
    starts = np.cumsum([0, *(s.records for s in shards)], dtype=np.int64)
    return Shards(starts, offsets, tokens)


def read_offsets(path: Path, records: int, tokens: int) -> np.ndarray:
    """Return the offsets in a file, int64 [records + 1]; kept in memory, 8 bytes a document."""
    offsets = np.fromfile(path, OFFSETS_DTYPE)
    if len(offsets) != records + 1 or offsets[0] != 0 or offsets[-1] != tokens:
        raise DataError(f"{path} has {len(offsets)} offsets; expected {records + 1}, from 0 to "
                        f"{tokens}. Curate the data again with --overwrite.")
    return offsets


def map_tokens(path: Path, dtype: np.dtype) -> np.ndarray:
    """Return a file's ids as a memory map; an empty file cannot be mapped and is an empty array."""
    mapped = path.stat().st_size > 0
    return np.asarray(np.memmap(path, dtype, "r")) if mapped else np.empty(0, dtype)
