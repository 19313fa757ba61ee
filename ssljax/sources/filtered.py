"""The records of another source that a filter keeps, chosen before anything is read for training.

Every record is judged once, in bounded windows; the numbers of those kept stay in the cache, so
that batches are exact: a filter that dropped records while reading would give hosts unequal shares.
Returns the records of the inner source unchanged.
"""

import dataclasses
import functools
import hashlib
import inspect
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from absl import logging

from ssljax.core.cache import entry, hash_plain
from ssljax.core.errors import DataError, UnreadableRecordError
from ssljax.core.files import sha256, write_json
from ssljax.core.source import Filter, Record, SizedSource, Source, Vocabulary, windows
from ssljax.sources.mixture import refuse_mixture

KEPT = "kept.i8"


def make(*, source: Source, filter: Filter, cache: str) -> Source:
    """Return `source` without the records that `filter` drops, or that cannot be read.

    Args:
        source: the records.
        filter: the rule.
        cache: folder of verdicts.

    Raises:
        ConfigError: the source is a mixture.
        DataError: nothing is left.
    """
    refuse_mixture(source, "filtered.source")
    rule = {"rule": filter.keep.__module__, **filter.fingerprint}
    key = {"source": dict(source.fingerprint()), "filter": rule, "records": len(source),
           "code": code_hash(filter.keep.__module__)}
    folder = entry(cache, "filters", key, lambda folder: judge(source, filter, folder))
    kept = (folder / KEPT).stat().st_size // 8
    if not kept:
        raise DataError(f"The filter {dict(filter.fingerprint)} keeps none of {len(source)} "
                        "records; loosen it.")
    kind = FilteredDocuments if isinstance(source, SizedSource) else Filtered
    return kind(source, str(folder), hash_plain(rule)[:12], f"{kept} of {len(source)} "
                f"{sha256(folder / KEPT)[:12]}")


def judge(source: Source, filter: Filter, folder: Path) -> None:
    """Write the numbers of the records that are kept, int64, and how many were not and why."""
    counts, first = Counter[str](), 0
    with (folder / KEPT).open("wb") as file:
        for records in windows(source):
            verdicts = [verdict(r, filter) for r in records]
            counts.update(verdicts)
            kept = np.flatnonzero([v == "kept" for v in verdicts]) + first
            file.write(kept.astype("<i8").tobytes())
            first += len(records)
    logging.info("Filter %s: %s.", dict(filter.fingerprint), dict(counts))
    write_json(folder / "counts.json", dict(counts))


def verdict(record: Record | UnreadableRecordError, filter: Filter) -> str:
    """Return "kept", "dropped" or "unreadable"."""
    if isinstance(record, UnreadableRecordError):
        return "unreadable"
    return "kept" if filter.keep(record) else "dropped"


def code_hash(module: str) -> str:
    """Return a hash of a module's text, so that changed rules are noticed; empty where it has none.

    It sees the one file: what that imports must be named in the rule's fingerprint.
    """
    try:
        return hashlib.sha256(inspect.getsource(sys.modules[module]).encode()).hexdigest()[:12]
    except (OSError, TypeError, KeyError):
        return ""


@functools.cache
def open_kept(folder: str) -> np.ndarray:
    """Map the numbers of kept records, once a process."""
    return np.asarray(np.memmap(Path(folder, KEPT), "<i8", "r"))


@dataclasses.dataclass(frozen=True)
class Filtered:
    """What is left of a source; holds the folder of verdicts, so that it pickles small."""

    source: Source
    folder: str
    rule: str
    kept: str

    def __len__(self) -> int:
        """Return the number of records kept."""
        return len(open_kept(self.folder))

    def read(self, indices: np.ndarray) -> Sequence[Record]:
        """Return the kept records at `indices`."""
        return self.source.read(np.asarray(open_kept(self.folder)[indices]))

    def fingerprint(self) -> Mapping[str, str]:
        """Return the inner source's, the rule's hash, and how many of how many it keeps."""
        inner = dict(self.source.fingerprint())
        before = {k: f"{inner[k]} / " for k in ("filter", "kept") if k in inner}
        return {**inner, "filter": before.get("filter", "") + self.rule,
                "kept": before.get("kept", "") + self.kept}

    @property
    def tokenizer_path(self) -> str:
        """Return the path of the tokenizer.json that made the ids, if the inner source has one."""
        return self.source.tokenizer_path

    @property
    def vocabulary(self) -> Vocabulary:
        """Return what the inner source says of its ids, if it does."""
        return self.source.vocabulary


class FilteredDocuments(Filtered):
    """What is left of a source that knows its lengths."""

    def lengths(self) -> np.ndarray:
        """Return the number of tokens of each record kept, int64 [len]."""
        return self.source.lengths()[open_kept(self.folder)]

    @property
    def text_bytes(self) -> int:
        """Return about how many bytes of text are left, taking records to be alike."""
        return self.source.text_bytes * len(self) // len(self.source)
