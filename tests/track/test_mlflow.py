"""A continued run is the same MLflow run: params once, steps once, and the state it ended in.

The quick tests stand in for MLflow's client; the slow one installs the real one.
"""

import json
import pathlib
import subprocess
import sys
import types
import venv
from types import SimpleNamespace
from typing import NamedTuple

import pytest

from ssljax.core.errors import ConfigError, MissingExtraError
from ssljax.track import mlflow

SETTINGS = {"optim.lr": 1e-3, "model.name": "gpt", "odd name?": "x" * 9000}


class Store:
    """A client of MLflow that remembers."""

    def __init__(self):
        self.runs, self.error, self.batches = {}, None, 0

    def get_experiment_by_name(self, name):
        if self.error:
            raise self.error

    def create_experiment(self, name):
        return name

    def create_run(self, experiment, run_name):
        run_id = f"id{len(self.runs)}"
        self.runs[run_id] = SimpleNamespace(name=run_name, params={}, points=[], tags={},
                                            status="RUNNING")
        return SimpleNamespace(info=SimpleNamespace(run_id=run_id))

    def log_batch(self, run_id, metrics=(), params=(), tags=()):
        assert len(metrics) + len(params) + len(tags) <= 1000
        self.batches += 1
        run = self.runs[run_id]
        run.params |= dict(params)
        run.points += [(m.step, m.key, m.value) for m in metrics]
        run.tags |= dict(tags)

    def update_run(self, run_id, status):
        self.runs[run_id].status = status

    def get_run(self, run_id):
        return SimpleNamespace(data=SimpleNamespace(tags=self.runs[run_id].tags))

    def set_terminated(self, run_id, status):
        self.runs[run_id].status = status


class Metric(NamedTuple):
    """As MLflow's."""

    key: str
    value: float
    timestamp: int
    step: int


class MlflowException(Exception):
    """As MLflow's."""


@pytest.fixture
def store(monkeypatch) -> Store:
    """Put a made-up mlflow in place of the real one."""
    store = Store()
    parts = {"mlflow": {}, "mlflow.exceptions": {"MlflowException": MlflowException},
             "mlflow.tracking": {"MlflowClient": lambda tracking_uri: store},
             "mlflow.entities": {"Metric": Metric, "Param": lambda *a: a,
                                 "RunTag": lambda *a: a}}
    for name, content in parts.items():
        module = types.ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    return store


def write(workdir: pathlib.Path, steps, **spec) -> None:
    """Log steps as one attempt of a run of 4 would."""
    writer = mlflow.make(workdir=workdir, settings=SETTINGS, total_steps=4, **spec)
    for step in steps:
        writer.write(step, {"loss": 1.0 / step, "knn/top@1": 0.5})
    writer.close()


def test_a_continued_run_is_the_same_run_with_each_step_once(store, tmp_path):
    write(tmp_path, [1, 2, 3])
    assert store.runs["id0"].status == "KILLED"
    write(tmp_path, [3, 4])
    run = store.runs["id0"]
    assert list(store.runs) == ["id0"] and run.status == "FINISHED"
    assert run.name == tmp_path.name
    # Step 3 is the last one there: the attempt may have died before its evaluations.
    assert [s for s, name, _ in run.points if name == "loss"] == [1, 2, 3, 3, 4]
    assert run.points[0] == (1, "loss", 1.0) and run.points[1] == (1, "knn/top_1", 0.5)
    assert run.params["optim.lr"] == "0.001" and len(run.params["odd name_"]) == 6000


def test_another_store_gets_a_run_of_its_own(store, tmp_path):
    write(tmp_path, [1])
    write(tmp_path, [2], tracking_uri="http://elsewhere", run_name="again")
    assert [r.name for r in store.runs.values()] == [tmp_path.name, "again"]


def test_many_metrics_go_in_several_requests(store, tmp_path):
    writer = mlflow.make(workdir=tmp_path, settings={}, total_steps=1)
    writer.write(1, {f"m{i}": float(i) for i in range(2000)})
    writer.close()
    assert len(store.runs["id0"].points) == 2000 and store.batches == 3


def test_a_store_that_is_away_refuses_a_new_run(store, tmp_path):
    store.error = MlflowException("no route to host. Try later.")
    with pytest.raises(ConfigError, match=r"no route to host\. Give .*tracking_uri"):
        write(tmp_path, [1])
    assert not (tmp_path / "mlflow.json").exists()


def test_a_continued_run_goes_on_while_the_store_is_away(store, tmp_path, monkeypatch, caplog):
    write(tmp_path, [1])

    def away(*args, **kwargs):
        raise ConnectionError("away")

    monkeypatch.setattr(store, "update_run", away)
    write(tmp_path, [2])
    assert "did not take 1 logged rows" in caplog.text


def test_a_missing_package_is_named_with_its_extra(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    monkeypatch.setitem(sys.modules, "mlflow.exceptions", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'ssljax\[mlflow\]'"):
        write(tmp_path, [1])


REAL = """
import json, pathlib, sys
from mlflow.tracking import MlflowClient
from ssljax.track import mlflow
work = pathlib.Path(sys.argv[1])
for steps in ((1, 2), (2, 3, 4)):
    writer = mlflow.make(workdir=work, settings={"optim.lr": 1e-3}, total_steps=4)
    for step in steps:
        writer.write(step, {"loss": 1.0 / step, "grad_norm/blocks/00": float("nan")})
    writer.close()
kept = json.loads((work / "mlflow.json").read_text())
client = MlflowClient(kept["tracking_uri"])
run = client.get_run(kept["run_id"])
history = [(m.step, m.value) for m in client.get_metric_history(kept["run_id"], "loss")]
print(json.dumps([run.info.status, run.data.params, sorted(set(history)),
                  len(client.search_runs([run.info.experiment_id]))]))
"""


@pytest.mark.slow
def test_the_real_client_keeps_one_run_in_a_local_database(tmp_path):
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--constraint", "constraints.txt",
                    ".[train,mlflow]"], check=True, timeout=900)
    done = subprocess.run([python, "-c", REAL, tmp_path], check=True, cwd=tmp_path, timeout=300,
                          capture_output=True, text=True)
    status, params, losses, runs = json.loads(done.stdout.splitlines()[-1])
    assert (status, params, runs) == ("FINISHED", {"optim.lr": "0.001"}, 1)
    assert losses == [[1, 1.0], [2, 0.5], [3, 1 / 3], [4, 0.25]]
