"""Jobs that are killed at random moments and started again until they are done."""

import contextlib
import random
import subprocess
import time
from collections.abc import Callable
from pathlib import Path


def killed_at_random(start: Callable[[Path], subprocess.Popen], quiet: Path, out: Path, *,
                     seed: int, latest: float, kills: int = 20) -> int:
    """Run a job undisturbed into `quiet`, and killed `kills` times into `out`, to its end.

    Args:
        start: starts the job that writes a path.
        quiet: output of the run that nobody disturbs.
        out: output of the others; when it is whole too soon, it is deleted and written again.
        seed: of the moments.
        latest: of them, as a fraction of the undisturbed run; the first is at 0.3.
        kills: how often.

    Returns:
        How many kills left a part of the job done.
    """
    began = time.monotonic()
    assert start(quiet).wait() == 0
    whole, draw, done, begun = time.monotonic() - began, random.Random(seed), 0, 0
    while done < kills:
        child = start(out)
        with contextlib.suppress(subprocess.TimeoutExpired):
            assert child.wait(draw.uniform(0.3, latest) * whole) == 0
            out.unlink()
            continue
        child.kill()
        child.wait()
        done, begun = done + 1, begun + any(out.parent.glob(f".{out.name}.work/0*"))
    assert start(out).wait() == 0
    return begun
