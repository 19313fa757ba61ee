"""The files within a folder, zip or tar archives: where each one's bytes are. Free of jax.

A tar has no directory and a zip's is at its end, so both are listed once, and from then on a file
is one read at an offset. Nothing stays open between reads: that costs 20 microseconds each, and
any thread or forked process may read.
"""

import os
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from absl import logging

from ssljax.core.errors import DataError, UnreadableRecordError

STORED, DEFLATED = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED
NO_CRC = -1                      # folders and tars keep no checksum of their files
LOCAL_HEADER = 30                # bytes before the name in a zip's header of a file


class Member(NamedTuple):
    """One file.

    name:   path within the folder or archive, parts separated by "/"
    where:  number of the archive; 0 in a folder
    offset: of its bytes within the archive
    stored: bytes it takes there
    method: STORED or DEFLATED
    crc:    of the content, or NO_CRC
    """

    name: str
    where: int
    offset: int
    stored: int
    method: int = STORED
    crc: int = NO_CRC


def is_wanted(name: str) -> bool:
    """Say whether a file is data: not hidden, and not what macOS adds to archives."""
    return not any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def folder_members(folder: str) -> list[Member]:
    """Return the files under a folder, in order of name; links to folders are followed once."""
    found, seen = [], set()
    for root, folders, names in os.walk(folder, followlinks=True):
        seen.add(os.path.realpath(root))
        folders[:] = [f for f in folders if os.path.realpath(os.path.join(root, f)) not in seen]
        for name in names:
            path = os.path.join(root, name)
            inside = os.path.relpath(path, folder).replace(os.sep, "/")
            if is_wanted(inside) and os.path.isfile(path):
                found.append(Member(inside, 0, 0, os.path.getsize(path)))
    return sorted(found)


def zip_members(path: str, where: int) -> Iterator[Member]:
    """Yield the files of a zip archive, in its own order.

    Raises:
        DataError: it is no zip, or a file in it is encrypted or packed by another method.
    """
    try:
        with zipfile.ZipFile(path) as archive, Path(path).open("rb") as raw:
            for info in archive.infolist():
                if info.is_dir() or not is_wanted(info.filename):
                    continue
                if info.compress_type not in (STORED, DEFLATED) or info.flag_bits & 1:
                    raise DataError(f"{info.filename} in {path} is encrypted or packed by method "
                                    f"{info.compress_type}; expected stored or deflated. Pack "
                                    "again with `zip -0 -r`.")
                raw.seek(info.header_offset + LOCAL_HEADER - 4)
                head = raw.read(4)              # the local header's own lengths may differ
                lengths = int.from_bytes(head[:2], "little") + int.from_bytes(head[2:], "little")
                offset = info.header_offset + LOCAL_HEADER + lengths
                yield Member(info.filename, where, offset, info.compress_size,
                             info.compress_type, info.CRC)
    except (zipfile.BadZipFile, OSError) as err:
        raise DataError(f"{path} cannot be read as a zip archive: {err}") from err


def tar_members(path: str, where: int) -> Iterator[Member]:
    """Yield the files of a tar archive, in its own order; of a cut one those that begin before.

    Raises:
        DataError: it is no tar, or a compressed one: that has no random access.
    """
    found = 0
    try:
        with tarfile.open(path, "r:") as archive:
            for info in archive:
                name = info.name.removeprefix("./")
                if info.isreg() and is_wanted(name):
                    found += 1
                    yield Member(name, where, info.offset_data, info.size)
    except (tarfile.TarError, OSError) as err:
        if found:
            logging.warning("%s is cut or damaged after %d files: %s.", path, found, err)
            return
        raise DataError(f"{path} cannot be read as a tar archive: {err}. A compressed one has no "
                        "random access: decompress it first.") from err


LIST: dict[str, Callable[[str, int], Iterator[Member]]] = {".zip": zip_members, ".tar": tar_members}


def read_member(path: str, member: Member) -> bytes:
    """Return the content of one file; `path` is the archive, or the file itself.

    Raises:
        UnreadableRecordError: it is cut, damaged or gone.
    """
    try:
        with open(path, "rb", buffering=0) as file:
            file.seek(member.offset)
            data = file.read(member.stored)
        if len(data) != member.stored:
            raise ValueError(f"{len(data)} bytes of {member.stored}")
        if member.method == DEFLATED:
            data = zlib.decompress(data, -zlib.MAX_WBITS)
        if member.crc != NO_CRC and zlib.crc32(data) != member.crc:
            raise ValueError("its checksum differs")
        return data
    except (OSError, ValueError, zlib.error) as err:
        raise UnreadableRecordError(f"{member.name} of {path} cannot be read: {err}",
                                    reason="unreadable_file") from err
