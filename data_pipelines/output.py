"""The folder a dataset appears in: all of it at once, or not at all, and never over something else.

Work happens in a hidden sibling, `.<name>.partial`, which one process at a time may hold and the
next one clears if it was killed. A replaced dataset is moved to `.<name>.replaced` before the new
one takes its name, and goes only then; a run killed in between is put right by the next.
"""

import contextlib
import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from ssljax.core.errors import DataError
from ssljax.core.files import sync_folder
from ssljax.sources.manifest import NAME, Manifest, read_manifest, verify

Existing = Literal["keep", "replace"]
OF_DISKS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM,
            errno.EIO)


def check_output(output: Path, recipe_hash: str, listing_hash: str,
                 existing: Existing) -> Manifest | None:
    """Return the dataset at `output` if it is what would be made; None if there is room for it.

    Raises:
        DataError: something else is there, or the dataset is damaged.
    """
    if not output.is_dir():
        if output.exists():
            raise DataError(f"Output {output} is a file; expected a new or empty folder.")
        return None
    if not any(output.iterdir()):
        return None
    if not (output / NAME).exists():
        raise DataError(f"Output {output} holds files that are no dataset (no {NAME}); nothing was "
                        "touched. Choose a new or empty folder with --output.")
    if existing == "replace":
        return None
    found = read_manifest(output)
    if found.recipe_hash != recipe_hash:
        reason = f"another recipe ({found.recipe_hash[:12]}; this one is {recipe_hash[:12]})"
    elif [p.get("listing") for p in found.parents] != [listing_hash]:
        reason = "other input, or the input has changed since"
    else:
        verify(output, found, "size")
        return found
    raise DataError(f"Output {output} holds the dataset {found.name} {found.version}, made by "
                    f"{reason}; nothing was touched. Choose another --output, or say --overwrite "
                    "to replace it.")


@contextlib.contextmanager
def claim(output: Path) -> Iterator[Path]:
    """Enter the hidden sibling of `output`, empty and ours alone; it is removed on the way out.

    Raises:
        DataError: it cannot be written, or another process is at work there.
    """
    partial = sibling(output, "partial")
    try:
        partial.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(partial, os.O_RDONLY)
    except OSError as err:
        raise DataError(f"Output {output} cannot be written: {err.strerror} ({err.filename}); "
                        "choose another --output.") from err
    try:
        lock(descriptor, partial)
        try:
            recover(output)
            clear(partial)
            yield partial
        except OSError as err:
            if err.errno not in OF_DISKS:          # a pipe or socket of the work itself
                raise
            raise DataError(f"Output {output} cannot be written: {err}; what was there is "
                            "unchanged. Free some space, or choose another --output.") from err
        finally:
            if is_same(descriptor, partial):
                shutil.rmtree(partial)
    finally:
        os.close(descriptor)


def publish(partial: Path, output: Path) -> None:
    """Give the finished folder its name, in the place of what had it."""
    replaced = sibling(output, "replaced")
    if output.exists():
        os.rename(output, replaced)
    os.rename(partial, output)
    sync_folder(output.parent)
    shutil.rmtree(replaced, ignore_errors=True)


def recover(output: Path) -> None:
    """Finish what a run that was killed inside `publish` began."""
    replaced = sibling(output, "replaced")
    if replaced.exists() and not output.exists():
        os.rename(replaced, output)
    shutil.rmtree(replaced, ignore_errors=True)


def sibling(output: Path, kind: str) -> Path:
    """Return the hidden name beside `output`; on its file system, so that renaming is atomic."""
    return output.parent / f".{output.name}.{kind}"


def lock(descriptor: int, partial: Path) -> None:
    """Hold the open folder until it is closed, or the process ends in any way.

    Raises:
        DataError: another process holds it, or gave it its final name meanwhile.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        busy = not is_same(descriptor, partial)
    except BlockingIOError:
        busy = True
    if busy:
        raise DataError(f"Another `ssljax curate` is at work in {partial}; wait for it, or choose "
                        "another --output.")


def is_same(descriptor: int, path: Path) -> bool:
    """Say whether `path` still names the open folder."""
    return path.exists() and os.path.samestat(os.fstat(descriptor), path.stat())


def clear(folder: Path) -> None:
    """Remove what is in a folder: the leavings of a run that was killed."""
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
