"""Checkpoints in a bucket: the real clients against an emulator of Google Cloud Storage."""

import os
import socket
import subprocess
import time
import venv

import pytest

from ssljax.core.errors import MissingExtraError
from ssljax.train.checkpoint import Checkpoints
from tests.journey.conftest import environment

STEPS = ("--config.checkpoint_steps=2", "--config.keep_checkpoints=2", "--config.log_steps=1")


def test_a_bucket_without_its_client_names_the_extra():
    pytest.importorskip("fsspec")
    try:
        import gcsfs  # noqa: F401
    except ImportError:
        with pytest.raises(MissingExtraError, match=r"ssljax\[gcs\]"):
            Checkpoints("gs://bucket/run")
    else:
        pytest.skip("gcsfs is installed")


def answers(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def bucket(tmp_path):
    """Return a Python with .[train,digits,gcs], and an environment whose gs:// is an emulator."""
    venv.create(tmp_path / "venv", with_pip=True)
    binaries = tmp_path / "venv" / "bin"
    subprocess.run([binaries / "python", "-m", "pip", "install", "--quiet", "--no-compile",
                    "--constraint", "constraints.txt", ".[train,digits,gcs]",
                    "gcp-storage-emulator"], check=True, timeout=900)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [binaries / "gcp-storage-emulator", "start", "--port", str(port), "--in-memory",
         "--default-bucket", "bucket"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        cwd=tmp_path)
    url = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 60
    while not answers(port):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    yield binaries / "ssljax", {**environment(), "STORAGE_EMULATOR_HOST": url,
                                "TENSORSTORE_GCS_HTTP_URL": url}
    server.terminate()
    server.wait()


@pytest.mark.slow
def test_a_run_saves_to_a_bucket_continues_from_it_and_is_judged_from_it(bucket, tmp_path):
    program, variables = bucket

    def ssljax(*arguments):
        done = subprocess.run([program, *arguments], env={**os.environ, **variables}, timeout=300,
                              capture_output=True, text=True, cwd=tmp_path, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run = ["pretrain", "--config", "experiments/vision/mae_digits.py:smoke", "--workdir", "run",
           "--config.checkpoint_root=gs://bucket/run/checkpoints", *STEPS]
    ssljax(*run, "--config.total_steps=6")
    assert not (tmp_path / "run" / "checkpoints").exists()
    said = ssljax(*run, "--config.total_steps=8")
    assert "Continuing from step 6 (gs://bucket/run/checkpoints/6)" in said
    ssljax("evaluate", "run")
    assert (tmp_path / "run" / "evaluation.json").is_file()
