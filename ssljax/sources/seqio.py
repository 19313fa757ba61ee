"""Any registered SeqIO task or mixture, written out once so that it has random access.

    source = dict(name="seqio", task="my_task", module="mylab.tasks", version="1")

SeqIO (Roberts et al. 2022, https://arxiv.org/abs/2203.17189) reads in order only. A child process
runs it into the cache, so that TensorFlow is never loaded by the training process, which it would
fight for the accelerator's memory; from then on neither is needed. The other way, `add_task`
registers curated shards as a SeqIO task. Returns {"id": uint32 [2], "tokens": int32 [n], ...}.
"""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ssljax.core.cache import entry
from ssljax.core.errors import DataError, MissingExtraError, needed
from ssljax.core.source import Source, Vocabulary, windows
from ssljax.sources.manifest import read_manifest
from ssljax.sources.materialised import open_store
from ssljax.sources.token_shards import make as open_shards

VOCABULARY = "vocabulary.json"


def make(*, task: str, module: str, version: str, split: str = "train",
         fields: Mapping[str, str] | None = None, text: Sequence[str] = (), limit: int = 0,
         cache: str) -> Source:
    """Return the examples of a task or mixture.

    Args:
        task: its name in SeqIO's registry.
        module: the module whose import registers it.
        version: raise it when the task would give other examples than the copy in the cache.
        split: of the task.
        fields: field of the record -> feature of the task; {"tokens": "targets"} unless told. The
            end of sequence that SeqIO appends to tokens is left off: packing puts it back.
        text: fields that hold UTF-8 text rather than bytes.
        limit: stop after so many examples; needed where a mixture has no end. 0 reads all.
        cache: folder of the copy.

    Raises:
        MissingExtraError: SeqIO is not installed.
        DataError: the child process failed; with the end of what it said.
    """
    request = {"task": task, "module": module, "split": split, "limit": limit,
               "fields": dict(fields or {"tokens": "targets"}), "text": sorted(text)}
    folder = entry(cache, "seqio", {**request, "version": version},
                   lambda folder: read_task(folder, request))
    found = json.loads((folder / VOCABULARY).read_text("utf-8"))
    return open_store(folder, f"seqio {task} {split} {version}",
                      vocabulary=Vocabulary(**found) if found else None)


def read_task(folder: Path, request: Mapping[str, Any]) -> None:
    """Run SeqIO in a child process, which writes the records into `folder`.

    Raises:
        MissingExtraError: SeqIO is not installed.
        DataError: it failed.
    """
    if importlib.util.find_spec("seqio") is None:
        raise MissingExtraError("seqio", "seqio")
    path = [*request.get("path", ()), *sys.path]
    job = json.dumps({**request, "folder": str(folder), "path": path})
    done = subprocess.run([sys.executable, "-m", "ssljax.sources.seqio_reader"], input=job,
                          capture_output=True, text=True)
    if done.returncode:
        raise DataError(f"SeqIO could not read {request['task']!r} of {request['module']}: "
                        f"{done.stderr.strip()[-1500:]}")


def add_task(name: str, path: str) -> Any:
    """Register the curated shards at `path` as the SeqIO task `name`; return the task.

    Its examples are {"targets": int32 [n]}, with the end of text that SeqIO appends.

    Raises:
        MissingExtraError: SeqIO is not installed.
        DataError: there is no dataset, or it is damaged.
    """
    with needed("seqio", "seqio"):
        import seqio
        import tensorflow as tf
    splits = {split: open_shards(path=path, split=split) for split in read_manifest(path).splits}
    end_of_text = end_of_text_id(Path(path, "tokenizer.json"))

    def dataset(split: str, shuffle_files: bool, seed: int | None = None) -> Any:
        del shuffle_files, seed               # curated documents are in the order of a hash
        source = splits[split]
        return tf.data.Dataset.from_generator(
            lambda: ({"targets": r["tokens"]} for some in windows(source) for r in some),
            output_signature={"targets": tf.TensorSpec([None], tf.int32)})

    sizes = {split: len(source) for split, source in splits.items()}
    vocabulary = seqio.PassThroughVocabulary(splits["train"].vocab_size, eos_id=end_of_text)
    return seqio.TaskRegistry.add(
        name, source=seqio.FunctionDataSource(dataset, splits=list(splits),
                                              num_input_examples=sizes),
        preprocessors=[seqio.preprocessors.append_eos],
        output_features={"targets": seqio.Feature(vocabulary, add_eos=True)})


def end_of_text_id(tokenizer: Path) -> int:
    """Return the id of <|endoftext|> in a tokenizer.json.

    Raises:
        DataError: it has none.
    """
    definition = json.loads(tokenizer.read_text("utf-8"))
    ids = [t["id"] for t in definition["added_tokens"] if t["content"] == "<|endoftext|>"]
    if not ids:
        raise DataError(f"{tokenizer} has no <|endoftext|>; it is not of `ssljax curate`.")
    return ids[0]
