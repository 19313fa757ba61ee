"""What a process asks of its machine before it trains: memory that stays, programs kept on disk."""

import ctypes
import hashlib
import os
import pathlib
import platform

import jax
from absl import logging

# glibc's mallopt parameters (malloc.h) and the largest threshold an int can say.
M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8
LARGEST = 2**31 - 1
# Programs that compile faster than this are not worth a file.
WORTH_KEEPING_S = 0.1


def keep_freed_memory() -> bool:
    """Let this process keep what it frees; return whether the C library could be asked (glibc).

    XLA on CPUs allocates every temporary of a step anew. By default glibc returns such blocks to
    the system, which hands them back one zeroed page at a time: 200,000 page faults and 14 % of the
    time of a step of a 12M-parameter GPT. Call before the first large allocation of any thread.
    """
    try:
        library = ctypes.CDLL(None)
        options = ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, LARGEST), (M_ARENA_MAX, 1))
        return all(library.mallopt(*option) for option in options)
    except (OSError, AttributeError):
        return False


def host_fingerprint() -> str:
    """Return a hash of what programs compiled for this CPU depend on."""
    info = pathlib.Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    flags = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return hashlib.sha256(f"{platform.machine()} {flags}".encode()).hexdigest()[:12]


def keep_programs(folder: str, *, least: float = WORTH_KEEPING_S) -> None:
    """Keep compiled programs under `folder`, for the next start of the same run; "off" keeps none.

    A folder of its own for every kind of CPU: a home shared by unlike hosts would otherwise offer
    programs with instructions that this one lacks.

    Args:
        folder: made if it is not there.
        least: seconds of compilation below which a program is not worth a file.
    """
    if folder == "off":
        return
    home = pathlib.Path(folder).expanduser() / host_fingerprint()
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        logging.warning("Compiled programs are not kept: %s. Choose another --programs folder.",
                        err)
        return
    jax.config.update("jax_compilation_cache_dir", str(home))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", least)


def default_programs() -> str:
    """Return the user's folder of compiled programs."""
    return os.path.join(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "ssljax", "programs")
