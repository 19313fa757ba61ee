"""Two processes with two devices each train the same model as one process."""

import socket
import subprocess

import numpy as np

from ssljax.core.files import read_json_lines
from tests.journey.conftest import SMOKE, command, environment, overrides, ssljax

STEPS = 6


def arguments(workdir, dataset, *more):
    changes = {"total_steps": STEPS, "checkpoint_steps": 3, "mesh.data": -1}
    return ["pretrain", "--config", SMOKE, "--workdir", workdir, *overrides(dataset, **changes),
            *more]


def losses(workdir):
    return [row["loss"] for row in read_json_lines(workdir / "metrics.jsonl")]


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def test_two_processes_equal_one(dataset, tmp_path):
    ssljax(*arguments(tmp_path / "one", dataset))
    address = f"127.0.0.1:{free_port()}"
    children = [subprocess.Popen(
        command(*arguments(tmp_path / "two", dataset, "--coordinator", address,
                           "--processes", 2, "--process", i)),
        env=environment(devices=2), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for i in range(2)]
    outs = [child.communicate(timeout=200)[0] for child in children]
    assert [c.returncode for c in children] == [0, 0], "\n".join(outs)
    assert len(losses(tmp_path / "two")) == STEPS
    np.testing.assert_allclose(losses(tmp_path / "two"), losses(tmp_path / "one"), rtol=2e-5)
    # What two processes saved, one process continues.
    longer = {"total_steps": STEPS + 2, "checkpoint_steps": 3}
    done = ssljax("pretrain", "--config", SMOKE, "--workdir", tmp_path / "two",
                  *overrides(dataset, **longer))
    assert f"Continuing from step {STEPS}" in done.stdout
