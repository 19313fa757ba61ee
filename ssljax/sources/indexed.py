"""Anything of your own with a length and an index: a Grain MapDataset, a PyTorch dataset, a list.

    source = dict(name="indexed", dataset=dict(name="mylab.images", path="images/"), version="1")

`mylab.images` is a module whose make(*, path) returns the dataset: data[i] is a mapping, or one
value for `field`, the same on every call (Grain's random maps are: their draws are keyed by index).
Order, epochs, hosts and batches are ours, so leave shuffle, repeat, shard and batch out of it.
Returns {"id": uint32 [2], **fields}.
"""

import dataclasses
import functools
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from ssljax.core.cache import hash_plain
from ssljax.core.config import find_make, resolve
from ssljax.core.errors import ConfigError, DataError
from ssljax.core.rng import record_id
from ssljax.core.source import Record, Source
from ssljax.sources.filtered import code_hash

ENDLESS = 2**48                  # no dataset is longer; Grain's repeat() says sys.maxsize


def make(*, dataset: Mapping[str, Any], version: str, field: str = "",
         tokenizer_path: str = "") -> Source:
    """Return the elements of `dataset` as records.

    Args:
        dataset: dict(name=a module with make, **arguments).
        version: raise it when the dataset would give other elements.
        field: what to call an element that is no mapping.
        tokenizer_path: the tokenizer.json that made "tokens", where there are any.

    Raises:
        ConfigError: it has no random access, no end, or no elements.
    """
    spec = json.dumps(dict(dataset), sort_keys=True)
    opened = open_dataset(spec)
    if not (hasattr(opened, "__getitem__") and hasattr(opened, "__len__")):
        raise ConfigError(f"source.dataset {dataset['name']!r} made a {type(opened).__name__}, "
                          "which has no random access; name it as the stream of a `materialised` "
                          "source.")
    if not 0 < len(opened) < ENDLESS:
        raise ConfigError(f"source.dataset {dataset['name']!r} has {len(opened)} elements; "
                          "expected some, and an end. Leave repeat out: the run makes its own "
                          "epochs.")
    code = code_hash(find_make("sources", dataset["name"]).__module__)
    about = {"dataset": dataset["name"], "version": version,
             "arguments": hash_plain(dict(dataset))[:12], "code": code}
    return Indexed(spec, field, tokenizer_path, about)


@functools.cache
def open_dataset(spec: str) -> Any:
    """Return what a spec names, made once a process."""
    return resolve("sources", json.loads(spec), where="source.dataset")


@dataclasses.dataclass(frozen=True)
class Indexed:
    """Elements as records; holds the spec, so that it pickles small.

    spec:           JSON
    field:          what to call an element that is no mapping
    tokenizer_path: of the tokenizer.json that made "tokens", or empty
    about:          the fingerprint, but for the number of elements
    """

    spec: str
    field: str
    tokenizer_path: str
    about: Mapping[str, str]

    def __len__(self) -> int:
        """Return the number of elements."""
        return len(open_dataset(self.spec))

    def read(self, indices: np.ndarray) -> list[Record]:
        """Return the elements at `indices`.

        Raises:
            DataError: an element is missing (None), or no mapping where `field` is not given.
        """
        return [self._record(int(i)) for i in indices]

    def fingerprint(self) -> Mapping[str, str]:
        """Return the dataset's name, arguments, code and version, and the number of elements."""
        return {**self.about, "records": str(len(self))}

    def _record(self, index: int) -> Record:
        element = open_dataset(self.spec)[index]
        if element is None:
            raise DataError(f"Element {index} of {self.about['dataset']} is None: a filter leaves "
                            "holes, and batches would differ by host. Filter with a `filtered` "
                            "source around this one, or name it as the stream of a `materialised`.")
        if not isinstance(element, Mapping):
            if not self.field:
                raise DataError(f"Element {index} of {self.about['dataset']} is a "
                                f"{type(element).__name__}; expected a mapping, or set "
                                "source.field to what it is to be called.")
            element = {self.field: element}
        return {**element, "id": record_id(hash_plain(self.about), index)}
