"""What a process asks of its machine: both can be refused, and neither changes a number."""

import subprocess
import sys

import pytest

from ssljax.runs.process import host_fingerprint

PROGRAM = """
import sys, jax, jax.numpy as jnp
from ssljax.runs import process
process.keep_programs(sys.argv[1], least=0)
print(process.keep_freed_memory(), float(jax.jit(lambda x: jnp.sum(jnp.sin(x @ x)))(
    jnp.ones((64, 64)))))
"""


def run(folder):
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(folder)], capture_output=True,
                          text=True, check=True)
    return done.stdout.split(), done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="mallopt is glibc's")
def test_programs_are_kept_for_the_next_start(tmp_path):
    (kept, first), _ = run(tmp_path)
    home = tmp_path / host_fingerprint()
    programs = {p.name for p in home.iterdir()}
    assert kept == "True"
    assert any("-cache" in name for name in programs)
    (_, second), _ = run(tmp_path)
    assert second == first
    assert {p.name for p in home.iterdir() if "-cache" in p.name} == {
        name for name in programs if "-cache" in name}


def test_a_folder_that_cannot_be_made_is_said_and_the_run_goes_on(tmp_path):
    (tmp_path / "file").write_text("")
    (_, value), said = run(tmp_path / "file")
    assert float(value)
    assert "--programs" in said
