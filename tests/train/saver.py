"""A child that saves with a fault at one write point after another; prints what became of it.

Run with fault.c preloaded: python -m tests.train.saver FOLDER ERRNO FIRST STRIDE. For each point:
checkpoint 1 is saved, 2 meets the fault, 3 is saved without one. One JSON line a point.
"""

import ctypes
import errno
import json
import os
import pathlib
import shutil
import sys

import jax
import numpy as np

from ssljax.core.errors import CheckpointError
from ssljax.train.checkpoint import Checkpoints, load_step, newest_sound
from ssljax.train.retention import Retention
from tests.train.test_checkpoint import ITEMS, abstract, make_state

WIDTH = 8


def attempt(checkpoints: Checkpoints, step: int) -> str:
    """Save a step; return "" or how it failed."""
    try:
        checkpoints.save(make_state(step, width=WIDTH), step, ITEMS)
        checkpoints.wait()
    except CheckpointError as err:
        return str(err)
    return "" if (checkpoints.root / str(step)).is_dir() else "logged"


def loads(root: pathlib.Path) -> int:
    """Return the newest sound step, after making sure that every bit of it is right."""
    step, _ = newest_sound(root)
    state, _ = load_step(root / str(step), abstract(make_state(0, width=WIDTH)))
    jax.tree.map(np.testing.assert_array_equal, state.params, make_state(step, width=WIDTH).params)
    return step


def main(folder: str, code: int, point: int, stride: int) -> None:
    libc = ctypes.CDLL(None)
    libc.fault_what.restype = ctypes.c_char_p
    while True:
        root = pathlib.Path(folder, f"point-{point}")
        checkpoints = Checkpoints(root, retention=Retention(9))
        assert not attempt(checkpoints, 1)
        libc.fault_arm(str(root).encode(), point, code)
        said = attempt(checkpoints, 2)
        calls, what = libc.fault_calls(), libc.fault_what().decode()
        libc.fault_arm(b"", 0, 0)
        if not what:
            break           # the save has fewer points than this
        after_fault = loads(root)
        attempt(checkpoints, 3)
        print(json.dumps({"point": point, "calls": calls, "what": what.replace(folder, ""),
                          "said": said, "after_fault": after_fault, "after": loads(root),
                          "error": errno.errorcode[code]}), flush=True)
        shutil.rmtree(root)
        point += stride
    print(json.dumps({"end": calls}), flush=True)
    os._exit(0)             # Orbax's threads may be in any state after so many faults


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
