"""What is judged, exported and served is the average of the weights, from config to answer."""

import json

import jax
import numpy as np

from data_pipelines import text
from data_pipelines.run import curate
from experiments.gpt import quickstart
from ssljax.core.tree import named_leaves
from ssljax.optim.average import evaluation_params
from ssljax.runs.build import build_method
from ssljax.runs.config import to_plain
from ssljax.runs.evaluate import evaluate
from ssljax.runs.evaluators import build_evaluators
from ssljax.runs.export import host_weights
from ssljax.runs.pretrain import pretrain
from ssljax.runs.restore import load_run


def test_a_run_with_an_average_is_judged_and_exported_by_it(tmp_path):
    (tmp_path / "texts").mkdir()
    for i in range(12):
        lines = "".join(f"Sentence {i * j % 97} of text {i}.\n" for j in range(12))
        (tmp_path / "texts" / f"{i}.txt").write_text(lines)
    curate(to_plain(text.get_config()) | {
        "input": str(tmp_path / "texts"), "output": str(tmp_path / "data"), "licence": "CC0-1.0",
        "vocab_size": 300})
    config = to_plain(quickstart.get_config("smoke"))
    for spec in (config["source"], config["evals"]["bits_per_byte"]["source"]):
        spec["path"] = str(tmp_path / "data")
    config["evals"]["bits_per_byte"]["every"] = 3
    config |= {"total_steps": 3, "log_steps": 1, "mesh": {"data": -1},
               "model": {"name": "gpt", "vocab_size": 304, "width": 32, "depth": 1, "num_heads": 2},
               "optim": {"name": "adamw", "lr": 0.05, "average": 0.9},
               "schedule": {"name": "constant"}}
    state = pretrain(config, tmp_path / "run")
    average = evaluation_params(state.opt_state, state.params)

    restored = load_run(tmp_path / "run")
    trained = named_leaves(jax.device_get(state.params))
    for name, x in named_leaves(jax.device_get(average)).items():
        np.testing.assert_array_equal(named_leaves(restored.params)[name], x)
        assert (x != trained[name]).any(), name
    exported_weights = named_leaves(host_weights(restored)["params"])
    np.testing.assert_array_equal(exported_weights["embedding"], average["embedding"])

    told = evaluate(tmp_path / "run")["evals"]["bits_per_byte"]["bits_per_byte"]["value"]
    lines = map(json.loads, (tmp_path / "run" / "metrics.jsonl").read_text().splitlines())
    logged = [line["bits_per_byte/bits_per_byte"] for line in lines
              if "bits_per_byte/bits_per_byte" in line]
    np.testing.assert_allclose(logged, [told], rtol=1e-4)
    evaluator = build_evaluators(config, build_method(config))["bits_per_byte"]
    raw = jax.device_get(state.params), jax.device_get(state.extra)
    assert abs(evaluator.run(*raw)["bits_per_byte"][0] - told) > 1e-3
