"""The examples of a registered SeqIO task or mixture become documents.

A recipe's first step in the place of read_files. The recipe's input is the folder of the module
that registers the task, so that a changed task is other input. Needs the extra [seqio], whose
TensorFlow runs in a child process. Returns the table of documents.
"""

import functools
import tempfile
from pathlib import Path

import pyarrow as pa

from data_pipelines.source import Source
from data_pipelines.steps.read_files import list_input
from data_pipelines.table import documents
from ssljax.core.source import windows
from ssljax.sources.materialised import open_store
from ssljax.sources.seqio import read_task


def make(*, task: str, module: str, split: str = "train", feature: str = "targets_pretokenized",
         limit: int = 0, input: str, licence: str = "unknown") -> Source:
    """Return the source.

    Args:
        task: its name in SeqIO's registry.
        module: the module whose import registers it; may be a file of `input`.
        split: of the task.
        feature: the feature that holds the text; tokenize keeps it as NAME_pretokenized.
        limit: stop after so many examples; 0 reads all.
        input: the folder that was listed.
        licence: of the documents.
    """
    def read(files: pa.Table) -> pa.Table:
        del files
        with tempfile.TemporaryDirectory() as folder:
            read_task(Path(folder), {"task": task, "module": module, "split": split,
                                     "limit": limit, "fields": {"text": feature},
                                     "text": ["text"], "path": [input]})
            examples = [r for some in windows(open_store(Path(folder), task)) for r in some]
        return documents([{"source": f"seqio/{task}/{split}", "row": row, "text": record["text"],
                           "licence": licence} for row, record in enumerate(examples)])

    return Source(functools.partial(list_input, input), read)
