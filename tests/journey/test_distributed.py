"""Real processes: found by a launcher's variables, killed in a save, changed in number."""

import os
import pathlib
import signal
import subprocess
import time

import numpy as np
import pytest

from ssljax.core.files import read_json_lines
from ssljax.core.tree import named_leaves
from ssljax.runs.restore import load_run
from tests.journey.conftest import SMOKE, command, environment, overrides, ssljax
from tests.journey.test_processes import free_port

# What a process that lost its peer may end with: it noticed, or jax's runtime aborted it.
LOST = {75, -signal.SIGABRT}
PATIENCE_S = 30          # from a peer's death to the end of all
TRAINING_S = 500         # four processes compile on as many cores as there are


def slurm(process: int, processes: int, port: int) -> dict[str, str]:
    return {"SLURM_JOB_ID": "7", "SLURM_STEP_NODELIST": "localhost",
            "SLURM_NTASKS": str(processes), "SLURM_PROCID": str(process),
            "SLURM_LOCALID": str(process), "SLURM_STEP_NUM_NODES": "1",
            "JAX_COORDINATOR_PORT": str(port)}


def pods(process: int, processes: int, port: int) -> dict[str, str]:
    return {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "JOB_COMPLETION_INDEX": str(process),
            "HOSTNAME": f"train-0-{process}", "JAX_NUM_PROCESSES": str(processes),
            "JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{port}"}


def launch(variables, processes: int, workdir: pathlib.Path, changes: list[str], *,
           devices: int = 1) -> list[subprocess.Popen]:
    """Start processes as a launcher would; each writes its output to a file of its own."""
    port = free_port()
    children = []
    for i in range(processes):
        with open(f"{workdir}.{i}.log", "w") as log:
            children.append(subprocess.Popen(
                command("pretrain", "--config", SMOKE, "--workdir", workdir, *changes),
                env={**environment(devices), **variables(i, processes, port)},
                stdout=log, stderr=subprocess.STDOUT))
    return children


def log_of(workdir: pathlib.Path, process: int) -> str:
    return pathlib.Path(f"{workdir}.{process}.log").read_text()


def kill_in_a_save(children, victim: int, workdir: pathlib.Path) -> None:
    """Kill one process while a checkpoint later than the first is being written."""
    root, until = workdir / "checkpoints", time.monotonic() + 150
    while time.monotonic() < until:
        assert all(c.poll() is None for c in children), log_of(workdir, 0)[-3000:]
        names = os.listdir(root) if root.is_dir() else []
        finished = any(n.isdigit() for n in names)
        if finished and any("tmp" in n for n in names):
            children[victim].kill()
            return
        time.sleep(0.002)
    raise AssertionError("no save was seen")


def ended(children, patience: float = PATIENCE_S) -> list[int]:
    """Return the exit codes; fail, and kill what is left, when the patience is at its end."""
    until = time.monotonic() + patience
    try:
        return [c.wait(max(0.1, until - time.monotonic())) for c in children]
    finally:
        for child in children:
            child.kill()
            child.wait()


def dying(variables, victim: int, dataset, workdir: pathlib.Path) -> str:
    """Kill a process in a save; return the survivor's log once the run was continued."""
    changes = overrides(dataset, **{"total_steps": 100_000, "checkpoint_steps": 2, "mesh.data": -1})
    children = launch(variables, 2, workdir, changes)
    kill_in_a_save(children, victim, workdir)
    codes = ended(children)
    assert codes[victim] == -signal.SIGKILL and codes[1 - victim] in LOST, codes
    done = max(int(p.name) for p in (workdir / "checkpoints").iterdir() if p.name.isdigit())
    longer = overrides(dataset, **{"total_steps": done + 4, "checkpoint_steps": 100,
                                   "mesh.data": -1})
    again = ssljax("pretrain", "--config", SMOKE, "--workdir", workdir, *longer)
    assert "Continuing from step" in again.stdout
    return log_of(workdir, 1 - victim)


def test_slurm_starts_two_and_one_killed_in_a_save_ends_both(dataset, tmp_path):
    log = dying(slurm, 1, dataset, tmp_path / "run")
    assert "Distributed by Slurm job 7: process 0 of 2" in log


@pytest.mark.slow
def test_kubernetes_starts_two_and_a_killed_coordinator_ends_both(dataset, tmp_path):
    log = dying(pods, 0, dataset, tmp_path / "run")
    assert "Distributed by Kubernetes: process 1 of 2" in log


@pytest.mark.slow
def test_a_process_that_falls_silent_ends_the_others(dataset, tmp_path):
    workdir = tmp_path / "run"
    changes = overrides(dataset, **{"total_steps": 100_000, "mesh.data": -1,
                                    "checkpoint_steps": 20})
    children = launch(slurm, 2, workdir, changes)
    until = time.monotonic() + TRAINING_S
    while not (workdir / "checkpoints/20").exists() and time.monotonic() < until:
        time.sleep(0.1)
    children[1].send_signal(signal.SIGSTOP)
    try:
        assert children[0].wait(PATIENCE_S) in LOST
    finally:
        for child in children:
            child.kill()
            child.wait()


@pytest.mark.slow
def test_an_error_of_one_process_ends_both(dataset, tmp_path):
    # Process 1 alone has a config that cannot work; without leaving at once it would wait in jax's
    # shutdown for process 0, which waits for it in its first collective.
    workdir, port = tmp_path / "run", free_port()
    children = []
    for i, width in enumerate((64, 63)):
        with open(f"{workdir}.{i}.log", "w") as log:
            children.append(subprocess.Popen(
                command("pretrain", "--config", SMOKE, "--workdir", workdir,
                        *overrides(dataset, **{"total_steps": 4, "mesh.data": -1,
                                               "model.width": width})),
                env={**environment(1), **slurm(i, 2, port)}, stdout=log,
                stderr=subprocess.STDOUT))
    assert children[1].wait(150) == 2, log_of(workdir, 1)
    assert ended(children)[0] in LOST
    assert "RoPE needs an even whole number" in log_of(workdir, 1)


def weights(workdir: pathlib.Path, step: int) -> dict[str, np.ndarray]:
    """Return the parameters of a checkpoint."""
    return {name: np.asarray(x) for name, x in named_leaves(load_run(workdir, step).params).items()}


@pytest.mark.slow
def test_checkpoints_pass_through_one_two_four_and_one_process_bit_for_bit(dataset, tmp_path):
    # At a learning rate of zero the parameters stay: what the last wrote is what the first made,
    # or a save or restore in between changed it.
    workdir = tmp_path / "run"
    for step, processes in ((2, 1), (4, 2), (6, 4), (8, 1)):
        changes = overrides(dataset, **{"total_steps": step, "checkpoint_steps": 2,
                                        "mesh.data": -1, "optim.lr": 0.0,
                                        "keep_checkpoints": 10})
        children = launch(slurm, processes, workdir, changes)
        assert set(ended(children, TRAINING_S)) == {0}, log_of(workdir, 0)[-3000:]
    first = weights(workdir, 2)
    for step in (4, 6, 8):
        later = weights(workdir, step)
        assert first.keys() == later.keys()
        assert all((first[name] == later[name]).all() for name in first), step


@pytest.mark.slow
def test_four_processes_equal_one(dataset, tmp_path):
    changes = {"total_steps": 4, "checkpoint_steps": 4, "mesh.data": 2, "mesh.fsdp": 2}
    one = {**changes, "mesh.data": 1, "mesh.fsdp": 1}
    children = launch(slurm, 4, tmp_path / "four", overrides(dataset, **changes))
    codes = ended(children, TRAINING_S)
    assert set(codes) == {0}, log_of(tmp_path / "four", 0)[-3000:]
    ssljax("pretrain", "--config", SMOKE, "--workdir", tmp_path / "one", *overrides(dataset, **one))
    ours, theirs = ([row["loss"] for row in read_json_lines(tmp_path / w / "metrics.jsonl")
                     if "loss" in row] for w in ("four", "one"))
    assert len(ours) == 4
    np.testing.assert_allclose(ours, theirs, rtol=2e-5)
