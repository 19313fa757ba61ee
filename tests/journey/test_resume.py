"""Kill it anywhere, run the same command again: the same numbers, bit for bit."""

import signal
import subprocess
import time

import pytest

from ssljax.core.files import read_json_lines
from tests.journey.conftest import SMOKE, command, environment, numbers, overrides, ssljax

STEPS = 24


def pretrain(workdir, dataset, **changes):
    changes = {"total_steps": STEPS, "checkpoint_steps": 5, **changes}
    return ["pretrain", "--config", SMOKE, "--workdir", workdir, *overrides(dataset, **changes)]


@pytest.fixture(scope="module")
def uninterrupted(dataset, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("runs") / "whole"
    ssljax(*pretrain(workdir, dataset))
    return workdir


def stop_at(workdir, dataset, step, number):
    """Start the run, send it a signal once it has logged `step`; return its exit code."""
    child = subprocess.Popen(command(*pretrain(workdir, dataset)), env=environment(),
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    deadline = time.monotonic() + 200
    while not any(row["step"] >= step for row in read_json_lines(workdir / "metrics.jsonl")):
        assert child.poll() is None, child.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    child.send_signal(number)
    out, _ = child.communicate(timeout=120)
    return child.returncode, out


def test_kill_9_and_resume_repeats_the_uninterrupted_run(uninterrupted, dataset, tmp_path):
    workdir = tmp_path / "killed"
    code, _ = stop_at(workdir, dataset, 12, signal.SIGKILL)
    assert code == -signal.SIGKILL
    said = ssljax(*pretrain(workdir, dataset)).stdout
    assert "Continuing from step" in said
    assert numbers(workdir) == numbers(uninterrupted)
    assert [row["step"] for row in numbers(workdir)] == list(range(1, STEPS + 1))


@pytest.mark.parametrize("number, exit_code", [
    (signal.SIGTERM, 75), pytest.param(signal.SIGUSR1, 75, marks=pytest.mark.slow),
    pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow)])
def test_asked_to_stop_it_saves_says_so_and_continues(uninterrupted, dataset, tmp_path, number,
                                                      exit_code):
    workdir = tmp_path / "stopped"
    code, said = stop_at(workdir, dataset, 7, number)
    assert code == exit_code, said
    assert "run the same command again to continue" in said
    stopped = max(row["step"] for row in numbers(workdir))
    assert (workdir / "checkpoints" / str(stopped)).is_dir()
    assert f"Continuing from step {stopped}" in ssljax(*pretrain(workdir, dataset)).stdout
    assert numbers(workdir) == numbers(uninterrupted)


def test_a_finished_run_is_not_trained_again(uninterrupted, dataset):
    before = (uninterrupted / "metrics.jsonl").read_bytes()
    assert "Already trained" in ssljax(*pretrain(uninterrupted, dataset)).stdout
    assert (uninterrupted / "metrics.jsonl").read_bytes() == before


def test_another_experiment_may_not_use_the_workdir(uninterrupted, dataset):
    before = (uninterrupted / "config.json").read_bytes()
    done = ssljax(*pretrain(uninterrupted, dataset, **{"optim.lr": 0.5}), expect=2)
    assert "belongs to another experiment" in done.stderr
    assert "optim.lr" in done.stderr
    assert (uninterrupted / "config.json").read_bytes() == before


def test_events_can_be_read_by_tensorboard_and_tensorflow_was_not_needed(uninterrupted):
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    (path,) = (uninterrupted / "tensorboard").iterdir()
    losses = {event.step: value.tensor.float_val[0] if value.tensor.float_val else
              value.simple_value for event in EventFileLoader(str(path)).Load()
              for value in event.summary.value if value.tag == "loss"}
    logged = {row["step"]: row["loss"] for row in numbers(uninterrupted)}
    assert losses.keys() == logged.keys()
    assert all(abs(losses[s] - logged[s]) < 1e-6 * abs(logged[s]) for s in losses)
