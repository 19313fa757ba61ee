"""Drop images that look like a better one: scaled, re-compressed, slightly changed.

Reads and returns the table of documents with a column of encoded images, the same for any order of
rows; `detail` is "<survivor's id> <bits apart>" and `cluster` the survivor's. An image that cannot
be decoded repeats nothing: judging it is another step's task.
"""

import io
from typing import Literal

import numpy as np
import pyarrow as pa

from data_pipelines.kernels import perceptual
from data_pipelines.survivors import rank, require
from data_pipelines.table import Step, column, drop, replace
from ssljax.core.errors import ConfigError, MissingExtraError

LARGEST = 100_000_000          # pixels; what decompresses to more is not decoded


def make(*, image: str = "image", kind: Literal["difference", "frequency"] = "frequency",
         within: int = 6, quality: str = "") -> Step:
    """Return the step.

    Args:
        image: column of encoded images, bytes.
        kind: "difference" is dHash, three times as fast; "frequency" is pHash, which also survives
            noise and changes of contrast.
        within: bits of 64 that may differ; from 0 to 15.
        quality: column of numbers by which survivors are preferred, such as pixels.

    Raises:
        ConfigError: settings that cannot be.
    """
    if kind not in ("difference", "frequency") or not 0 <= within <= 15:
        raise ConfigError(f'image_duplicates: kind "{kind}", within {within}; expected '
                          '"difference" or "frequency", and 0 to 15 bits.')

    def apply(table: pa.Table) -> pa.Table:
        ranked = rank(table, quality)
        encoded = require(table, image).take(pa.array(ranked, pa.int64()))
        hashes = [image_hash(data.as_py(), kind) for data in encoded]
        sound = np.array([h is not None for h in hashes], bool)
        ranked, values = ranked[sound], np.array([h for h in hashes if h is not None], np.uint64)
        ids, named = column(table, "id"), column(table, "cluster")
        verdicts = {}
        for i, s in enumerate(perceptual.representatives(values, within).tolist()):
            if s != i:
                apart = int(perceptual.distance(values[i], values[s]))
                verdicts[int(ranked[i])] = ("image_duplicate", f"{ids[ranked[s]]} {apart}")
                named[ranked[i]] = named[ranked[s]]
        return replace(drop(table, verdicts), "cluster", named)

    return apply


def image_hash(data: bytes | None, kind: str) -> int | None:
    """Return the hash of an encoded image, None where there is none that can be decoded."""
    try:
        from PIL import Image
    except ImportError as err:
        raise MissingExtraError("pillow", "curate") from err
    size = (9, 8) if kind == "difference" else (32, 32)
    try:
        with Image.open(io.BytesIO(data or b"")) as picture:
            if picture.width * picture.height > LARGEST:
                return None
            grey = np.asarray(picture.convert("L").resize(size, Image.Resampling.LANCZOS))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    return (perceptual.difference_hash if kind == "difference" else perceptual.frequency_hash)(grey)
