"""The child process of the SeqIO source: the one program of ssljax that loads TensorFlow.

Reads a job as JSON from standard input, see `ssljax.sources.seqio.read_task`; writes records and
what the ids mean into the job's folder.
"""

import hashlib
import importlib
import itertools
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ssljax.core.errors import DataError, nearest
from ssljax.core.files import write_json
from ssljax.sources.materialised import write_records


def run(job: Mapping[str, Any]) -> None:
    """Write the examples of a task.

    Raises:
        DataError: a field names no feature of the task.
    """
    sys.path += [p for p in job["path"] if p not in sys.path]
    import seqio
    import tensorflow as tf

    tf.config.set_visible_devices([], "GPU")      # the memory is the training process's
    importlib.import_module(job["module"])
    task = seqio.get_mixture_or_task(job["task"])
    # One pass in the order of the files: order and epochs are the stream's.
    examples = task.get_dataset(sequence_length=None, split=job["split"], shuffle=False, seed=0,
                                num_epochs=1).as_numpy_iterator()
    tokens = task.output_features.get(job["fields"].get("tokens"))
    vocabulary = tokens.vocabulary if tokens else None
    chosen = itertools.islice(examples, job["limit"] or None)
    write_records(Path(job["folder"]), records(chosen, job, vocabulary))
    write_json(Path(job["folder"], "vocabulary.json"), describe(vocabulary))


def records(examples: Iterator[Mapping[str, Any]], job: Mapping[str, Any],
            vocabulary: Any) -> Iterator[dict[str, Any]]:
    """Yield examples as records, with the fields the job names.

    Raises:
        DataError: a feature is not there.
    """
    for example in examples:
        record = {}
        for field, feature in job["fields"].items():
            if feature not in example:
                raise DataError(f'task {job["task"]!r} has no feature "{feature}" for the field '
                                f'"{field}"; {nearest(feature, example)}')
            value = example[feature]
            record[field] = value.decode() if field in job["text"] else value
        if vocabulary is not None:
            record["tokens"] = without_end(np.asarray(record["tokens"], np.int32), vocabulary)
        yield record


def without_end(tokens: np.ndarray, vocabulary: Any) -> np.ndarray:
    """Return tokens without the end of sequence that SeqIO appended."""
    ends = len(tokens) > 0 and tokens[-1] == vocabulary.eos_id
    return tokens[:-1] if ends else tokens


def describe(vocabulary: Any) -> dict[str, Any] | None:
    """Return a SeqIO vocabulary as the fields of core.source.Vocabulary, None for none."""
    if vocabulary is None:
        return None
    model = getattr(vocabulary, "sp_model", None) or b""
    about = [type(vocabulary).__name__, vocabulary.vocab_size, vocabulary.eos_id,
             hashlib.sha256(model).hexdigest()]
    return {"size": vocabulary.vocab_size, "end_of_text": vocabulary.eos_id,
            "fingerprint": hashlib.sha256(json.dumps(about).encode()).hexdigest()}


if __name__ == "__main__":
    run(json.load(sys.stdin))
