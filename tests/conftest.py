"""Eight fake CPU devices for every test, set before jax starts; a cache of the tests' own."""

import itertools
import os
import pathlib
import tempfile

import pytest

from tests import compiler_flags

# XLA's collectives on CPU devices each hold a thread while they wait: with as many as cores, eight
# devices with a dozen collectives that need not wait for each other starve, and a step hangs.
os.environ.setdefault("NPROC", "64")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("XLA_FLAGS", compiler_flags.devices(8))

# Packing plans and checksums of tests are not the user's; worker processes share the first one's.
if "SSLJAX_TEST_CACHE" not in os.environ:
    CACHE = tempfile.TemporaryDirectory(prefix="ssljax-cache-")
    os.environ["XDG_CACHE_HOME"] = os.environ["SSLJAX_TEST_CACHE"] = CACHE.name

# A compiled program holds some hundred mappings of memory, and Linux gives a process 65,530: beyond
# them XLA's compiler ends the process with a segmentation fault.
MOST_MAPPINGS = 30_000
TESTS = itertools.count(1)


@pytest.fixture(autouse=True)
def few_mappings():
    """Drop compiled programs where a process comes near the limit of its mappings."""
    yield
    maps = pathlib.Path("/proc/self/maps")
    if next(TESTS) % 20 == 0 and maps.exists() and maps.read_bytes().count(b"\n") > MOST_MAPPINGS:
        import jax

        jax.clear_caches()
