"""A run over a filtered, packed mixture: it trains, its state is small, changes are refused."""

import json
import shutil

import pytest

from ssljax.core.errors import CheckpointError
from ssljax.runs.pretrain import pretrain
from ssljax.train.checkpoint import load_items
from tests.runs.test_build_stream import config, dataset  # noqa: F401 (a fixture)


def test_a_run_goes_on_only_with_the_data_it_began_with(config, tmp_path):  # noqa: F811
    run = config | {"batch_size": 8, "total_steps": 2, "checkpoint_steps": 1, "log_steps": 1,
                    "model": {"name": "gpt", "vocab_size": 320, "width": 32, "depth": 1,
                              "num_heads": 2}}
    pretrain(run, tmp_path / "run")
    logged = (tmp_path / "run/metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in logged] == [1, 2]

    shutil.copytree(tmp_path / "code", tmp_path / "kept")
    dataset(tmp_path / "code", seed=2, version="v2")
    with pytest.raises(CheckpointError, match=r"code.version: v1 when saved, v2 now\n"):
        pretrain(run | {"total_steps": 3}, tmp_path / "run")

    shutil.rmtree(tmp_path / "code")
    (tmp_path / "kept").rename(tmp_path / "code")
    assert int(pretrain(run | {"total_steps": 3}, tmp_path / "run").step) == 3
    state = load_items(tmp_path / "run/checkpoints/3")["data"]
    assert state["step"] == 3 and len(json.dumps(state)) <= 1024
    assert {"web.kept", "web.version", "code.version", "tokenizer"} <= state["fingerprint"].keys()
