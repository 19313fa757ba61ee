"""The compressor's figure is the size of a real .xz file."""

import lzma
import math
import shutil
import subprocess

import numpy as np
import pytest

from ssljax.evals.baselines import xz

DOCUMENTS = [b"to be or not to be, " * 50, bytes(np.random.default_rng(0).bytes(500)), b""]


def test_is_the_size_of_the_concatenated_stream():
    data = b"".join(DOCUMENTS)
    assert xz.bits_per_byte(DOCUMENTS) == 8 * len(lzma.compress(data, preset=9)) / len(data)


def test_agrees_with_the_command():
    if not shutil.which("xz"):
        pytest.skip("the xz command is not installed")
    data = b"".join(DOCUMENTS)
    packed = subprocess.run(["xz", "-9", "-c"], input=data, capture_output=True, check=True).stdout
    assert xz.bits_per_byte(DOCUMENTS) == pytest.approx(8 * len(packed) / len(data), rel=0.02)


def test_random_bytes_do_not_compress():
    assert xz.bits_per_byte([np.random.default_rng(0).bytes(20_000)]) > 7.99


def test_without_bytes_there_is_no_figure():
    assert math.isnan(xz.bits_per_byte([]))
