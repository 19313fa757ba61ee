"""Members of zip and tar archives, each read as the file it is; bombs are stopped.

A member's source is "archive!member"; archives inside archives are read down to DEPTH. Errors:
"too_large" (a member, or all of them together), "bad_ratio" (expands more than a hundredfold, as
text does not), "too_deep", "encrypted", "bad_archive".
"""

import io
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from data_pipelines.readers.opening import name_of, opened
from data_pipelines.readers.record import MAX_BYTES, Raw, failed

DEPTH = 2
RATIO = 100               # zlib cannot exceed 1032; a file of one repeated line reaches some 200
SMALL = 1 << 20           # bytes below which no ratio is suspicious

ReadMember = Callable[[BinaryIO], Iterator[Raw]]


class Member(NamedTuple):
    """A file in an archive: its name, its bytes, or why they cannot be had."""

    name: str
    data: bytes
    error: str = ""
    detail: str = ""


def read(source: str | Path | BinaryIO, *, kind: str, read_member: ReadMember,
         max_bytes: int = MAX_BYTES, max_total: int = 64 * MAX_BYTES) -> Iterator[Raw]:
    """Yield the records of an archive's members.

    Args:
        source: path, URL or open file.
        kind: "zip" or "tar".
        read_member: told a file object with a `name`.
        max_bytes: most uncompressed bytes of a member.
        max_total: most uncompressed bytes of all members together.
    """
    name, total = name_of(source), 0
    try:
        with opened(source) as file:
            members = zip_members(file, max_bytes) if kind == "zip" else tar_members(
                file, max_bytes)
            for member in members:
                inner = f"{name}!{member.name}"
                total += len(member.data)
                if member.error:
                    yield failed(inner, 0, -1, member.error, member.detail)
                elif total > max_total:
                    yield failed(inner, 0, -1, "too_large", f"members over {max_total:,} bytes")
                    return
                elif inner.count("!") > DEPTH:
                    yield failed(inner, 0, -1, "too_deep", f"over {DEPTH} archives deep")
                else:
                    opened_member = io.BytesIO(member.data)
                    opened_member.name = inner
                    yield from read_member(opened_member)
    except (zipfile.BadZipFile, tarfile.TarError, OSError, EOFError, zlib.error, ValueError) as err:
        yield failed(name, 0, -1, "bad_archive", err)


def zip_members(file: BinaryIO, limit: int) -> Iterator[Member]:
    """Yield the files of a zip archive in its order."""
    with zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            if info.is_dir():
                continue
            if info.flag_bits & 1:
                yield Member(info.filename, b"", "encrypted", "needs a password")
                continue
            yield zip_member(archive, info, limit)


def zip_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, limit: int) -> Member:
    """Return one file; sizes are those read, since the directory's can lie."""
    try:
        with archive.open(info) as file:
            data = file.read(limit + 1)
    except (zipfile.BadZipFile, OSError, EOFError, zlib.error, NotImplementedError) as err:
        return Member(info.filename, b"", "bad_archive", str(err))
    if len(data) > limit:
        return Member(info.filename, b"", "too_large", f"over {limit:,} bytes")
    if len(data) > max(SMALL, RATIO * info.compress_size):
        return Member(info.filename, b"", "bad_ratio", f"{info.compress_size} to {len(data)}")
    return Member(info.filename, data)


def tar_members(file: BinaryIO, limit: int) -> Iterator[Member]:
    """Yield the regular files of a tar archive, compressed or not, read front to back."""
    with tarfile.open(fileobj=file, mode="r|*") as archive:
        for info in archive:
            if not info.isfile():
                continue
            if info.size > limit:
                yield Member(info.name, b"", "too_large", f"{info.size:,} bytes")
                continue
            yield Member(info.name, archive.extractfile(info).read())
