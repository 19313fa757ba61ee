"""Bits per byte of `xz -9`: what a general compressor makes of the held-out text.

It learns from no training text but sees the documents as one stream, so it profits from what they
share; it spends nothing on document ends. (LZMA: https://www.7-zip.org/sdk.html)
"""

import lzma
from collections.abc import Iterable


def bits_per_byte(held_out: Iterable[bytes]) -> float:
    """Return 8 * size of `xz -9` of the concatenated documents / their size; nan without bytes."""
    compressor = lzma.LZMACompressor(preset=9)
    read = written = 0
    for document in held_out:
        read += len(document)
        written += len(compressor.compress(document))
    written += len(compressor.flush())
    return 8 * written / read if read else float("nan")
