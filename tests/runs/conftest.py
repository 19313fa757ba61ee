"""A real tiny run, curated, trained on a mesh and exported once for the tests that need one."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import pytest

from data_pipelines import text
from data_pipelines.run import curate
from experiments.gpt import quickstart
from ssljax.models import vit_decoder
from ssljax.objectives import mae
from ssljax.runs import export
from ssljax.runs.build import build_method
from ssljax.runs.config import to_plain
from ssljax.runs.export import export_run
from ssljax.runs.pretrain import pretrain
from ssljax.runs.restore import Restored

VIT = {"name": "vit", "image_size": 8, "channels": 1, "width": 16, "depth": 1, "num_heads": 2,
       "patch_size": 2}


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


@pytest.fixture(scope="session")
def encoder_run(tmp_path_factory) -> Restored:
    """Return what would be read back of a run that trained an image encoder for no step."""
    config = {"model": VIT, "seed": 0, "batch_size": 4, "total_steps": 1,
              "objective": {"name": "mae", **mae.TINY, "decoder": {
                  "name": "vit_decoder", **vit_decoder.TINY}},
              "pretext": {"name": "masked_patches", "size": 8, "patch_size": 2, "channels": 1},
              "optim": {"name": "adamw", "lr": 1e-3}, "compute_dtype": "float32",
              "schedule": {"name": "cosine", "warmup_steps": 1}}
    method = build_method(config)
    state = jax.jit(method.init)(method.key)
    return Restored(tmp_path_factory.mktemp("encoder") / "run", config, 1, method.model,
                    method.objective, method.pretext, state.params, state.extra, {}, {}, None)


@pytest.fixture(scope="session")
def encoder(encoder_run):
    """Return (method, state, folder of its artefact) of an image encoder of random weights."""
    output = encoder_run.path.parent / "artefact"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "load_run", lambda path, step: encoder_run)
        assert export_run(encoder_run.path, output)["kind"] == "encoder"
    return encoder_run, encoder_run, output
