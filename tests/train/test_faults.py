"""A fault at every write point of a checkpoint: the latest good one stays loadable, nothing hangs.

The faults come from the C library: fault.c, preloaded, makes the N-th write, rename, mkdir, fsync,
... below the checkpoint's folder fail, whoever calls it (Python, tensorstore).
"""

import errno
import json
import pathlib
import shutil
import subprocess
import sys

import pytest

from tests.journey.conftest import environment

CODES = (errno.ENOSPC, errno.EIO, errno.EACCES)
HANG_S = 120


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler to build the faults with")
    out = tmp_path_factory.mktemp("fault") / "fault.so"
    source = pathlib.Path(__file__).with_name("fault.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", out, source, "-ldl"], check=True)
    return out


def cases(library, folder, code, stride):
    """Return what became of a save at every `stride`-th write point."""
    command = [sys.executable, "-m", "tests.train.saver", folder, code, 1, stride]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=600,
                          env={**environment(), "LD_PRELOAD": str(library)}, check=False)
    lines = [json.loads(x) for x in done.stdout.splitlines() if x.startswith("{")]
    assert lines and "end" in lines[-1], f"it ended early\n{done.stdout}\n{done.stderr[-4000:]}"
    return lines[:-1], lines[-1]["end"]


def check(found, points, stride):
    """Either the save was whole, or it was refused aloud; either way the newest step is good."""
    assert points > 50                          # the save really was watched
    assert len(found) == -(-points // stride)
    for case in found:
        whole = case["after_fault"] == 2
        assert case["after_fault"] in (1, 2), case
        assert whole or case["said"], f"a save failed in silence: {case}"
        assert case["after"] == 3, f"the next save did not recover: {case}"
    assert sum(case["after_fault"] == 1 for case in found) > len(found) / 4


def test_a_full_disk_at_some_write_points(library, tmp_path):
    found, points = cases(library, tmp_path, errno.ENOSPC, 9)
    check(found, points, 9)
    refused = [case for case in found if case["said"]]
    assert any("disk is full" in case["said"] for case in refused)


@pytest.mark.slow
@pytest.mark.parametrize("code", CODES, ids=errno.errorcode.get)
def test_a_fault_at_every_write_point(library, tmp_path, code):
    found, points = cases(library, tmp_path, code, 1)
    check(found, points, 1)
