"""Files that are one record: HTML, plain text, Markdown, images, audio.

Yields the bytes, uncompressed, with what they were recognised as. Errors: "unreadable" (no
permission, not a file, broken gzip) and "too_large", which also stops decompression bombs.
"""

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from data_pipelines.readers.opening import HEAD, name_of, opened, sniff, unpacked
from data_pipelines.readers.record import MAX_BYTES, Raw, failed


def read(source: str | Path | BinaryIO, *, max_bytes: int = MAX_BYTES) -> Iterator[Raw]:
    """Yield the one record of a file."""
    name = name_of(source)
    try:
        with opened(source) as file:
            data = unpacked(file).read(max_bytes + 1)
    except (OSError, EOFError, zlib.error) as err:
        yield failed(name, 0, 0, "unreadable", getattr(err, "strerror", None) or err)
        return
    if len(data) > max_bytes:
        yield failed(name, 0, 0, "too_large", f"more than {max_bytes:,} bytes")
    else:
        yield Raw(name, 0, 0, data, sniff(data[:HEAD], name))
