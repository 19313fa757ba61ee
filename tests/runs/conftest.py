"""A real tiny run, curated, trained on a mesh and exported once for the tests that need one."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from data_pipelines import text
from data_pipelines.run import curate
from experiments.gpt import quickstart
from ssljax.runs.config import to_plain
from ssljax.runs.export import export_run
from ssljax.runs.pretrain import pretrain


@dataclasses.dataclass(frozen=True)
class Exported:
    """Folders of a run and its artefact, and what export_run returned."""

    data: Path
    run: Path
    artefact: Path
    summary: dict[str, Any]


@pytest.fixture(scope="session")
def exported(tmp_path_factory) -> Exported:
    folder = tmp_path_factory.mktemp("exported")
    texts = folder / "texts"
    texts.mkdir()
    for i in range(12):
        lines = [f"Sentence {i * j % 97} of text {i} tells of {i + j} things.\n" for j in range(12)]
        (texts / f"{i}.txt").write_text("".join(lines))
    curate(to_plain(text.get_config()) | {
        "input": str(texts), "output": str(folder / "data"), "licence": "CC0-1.0",
        "vocab_size": 300})
    config = to_plain(quickstart.get_config("smoke"))
    config["source"]["path"] = str(folder / "data")
    del config["evals"]
    pretrain(config | {
        "mesh": {"data": 2, "fsdp": 2, "tensor": 2}, "total_steps": 2, "compute_dtype": "bfloat16",
        "model": {"name": "gpt", "vocab_size": 304, "width": 32, "depth": 2, "num_heads": 2}},
        folder / "run")
    summary = export_run(folder / "run", folder / "artefact", name="tiny")
    return Exported(folder / "data", folder / "run", folder / "artefact", summary)
