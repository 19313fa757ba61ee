"""SeqIO both ways, with a real task: as a source, as input of curation, and reading our shards.

SeqIO and TensorFlow are 3 GB and no dependency of the tests: the slow test installs them alone.
"""

import importlib.util
import subprocess
import venv

import numpy as np
import pytest

from ssljax.core.errors import DataError, MissingExtraError
from ssljax.sources import seqio
from ssljax.sources.seqio_reader import describe, without_end

TASKS = '''
import seqio
import tensorflow as tf

def lines(split, shuffle_files, seed=None):
    texts = [f"{split} line {i} tells of {i * i} things, and of {i % 7} more." for i in range(40)]
    return tf.data.Dataset.from_tensor_slices({"text": texts})

seqio.TaskRegistry.add(
    "lines", source=seqio.FunctionDataSource(lines, splits=["train", "validation"]),
    preprocessors=[lambda d: d.map(lambda x: {"targets": x["text"]}), seqio.preprocessors.tokenize,
                   seqio.preprocessors.append_eos],
    output_features={"targets": seqio.Feature(seqio.ByteVocabulary(), add_eos=True)})
seqio.MixtureRegistry.add("mixed", [("lines", 1.0)])
'''
PROGRAM = '''
import sys
import numpy as np
from data_pipelines.run import curate
from ssljax.core.errors import DataError
from ssljax.sources import seqio, token_shards

work = sys.argv[1]
text = "train line 3 tells of 9 things, and of 3 more."
for task in ("lines", "mixed"):
    source = seqio.make(task=task, module="tasks", version="1", cache=f"{work}/cache")
    records = source.read(np.arange(40))
    assert len(source) == 40
    assert (source.vocabulary.size, source.vocabulary.end_of_text) == (259, 1)
    assert bytes((records[3]["tokens"] - 3).tolist()).decode() == text      # without the end
assert source.fingerprint() != seqio.make(task="lines", module="tasks", version="1", limit=5,
                                          cache=f"{work}/cache").fingerprint()
raw = seqio.make(task="lines", module="tasks", version="1", fields={"text": "targets_pretokenized"},
                 text=["text"], split="validation", cache=f"{work}/cache")
assert raw.read(np.array([0]))[0]["text"] == "validation line 0 tells of 0 things, and of 0 more."
try:
    seqio.make(task="liens", module="tasks", version="1", cache=f"{work}/cache")
    raise AssertionError("an unknown task was found")
except DataError as err:
    assert "liens" in str(err)

manifest = curate({"name": "t", "input": work, "output": f"{work}/data", "tokenizer": "byte",
                   "validation_fraction": 0.2, "licence": "CC0-1.0",
                   "steps": [{"name": "read_seqio", "task": "lines", "module": "tasks"},
                             {"name": "split"}]})
assert manifest.kept == 40, manifest
assert "tensorflow" not in sys.modules, "only child processes load it"

import seqio as library
seqio.add_task("curated", f"{work}/data")
task = library.get_mixture_or_task("curated")
shards = token_shards.make(path=f"{work}/data")
found = [e["targets"].tolist() for e in task.get_dataset(
    sequence_length=None, split="train", shuffle=False, num_epochs=1).as_numpy_iterator()]
assert found == [[*r["tokens"].tolist(), 256] for r in shards.read(np.arange(len(shards)))]
assert task.num_input_examples("train") == len(shards)
'''


@pytest.mark.slow
def test_seqio_works_both_ways_where_the_extra_is_installed(tmp_path):
    venv.create(tmp_path / "venv", with_pip=True)
    python = str(tmp_path / "venv" / "bin" / "python")
    # Three minutes on a quiet machine; bytecode of what is imported once would double them.
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-compile", "--constraint",
                    "constraints.txt", ".[seqio,curate]"], check=True, timeout=3600)
    work = tmp_path / "work"
    work.mkdir()
    (work / "tasks.py").write_text(TASKS)
    (work / "program.py").write_text(PROGRAM)
    done = subprocess.run([python, "program.py", str(work)], cwd=work, capture_output=True,
                          text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.skipif(importlib.util.find_spec("seqio") is not None, reason="SeqIO is installed here")
def test_without_seqio_the_extra_is_named_and_nothing_is_left(tmp_path):
    for call in (lambda: seqio.make(task="t", module="m", version="1", cache=str(tmp_path)),
                 lambda: seqio.add_task("t", str(tmp_path))):
        with pytest.raises(MissingExtraError, match=r"seqio is not installed; .*ssljax\[seqio\]"):
            call()
    assert not list((tmp_path / "seqio").iterdir())


def test_a_failing_child_is_quoted(tmp_path, monkeypatch):
    monkeypatch.setattr(seqio.importlib.util, "find_spec", lambda name: True)
    with pytest.raises(DataError, match="(?s)could not read 't' of m: .*No module named 'seqio'"):
        seqio.make(task="t", module="m", version="1", cache=str(tmp_path))


def test_the_end_that_seqio_appended_is_left_off_once():
    class Vocabulary:
        eos_id, vocab_size = 1, 259

    for tokens, kept in (([5, 6, 1], [5, 6]), ([5, 1, 1], [5, 1]), ([5, 6], [5, 6]), ([], [])):
        assert without_end(np.array(tokens, np.int32), Vocabulary()).tolist() == kept
    found = describe(Vocabulary())
    assert (found["size"], found["end_of_text"]) == (259, 1) and describe(None) is None
