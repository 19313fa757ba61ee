"""Drop images that look like a better one: scaled, re-compressed, slightly changed.

Reads and returns the table of documents with a column of encoded images, the same for any order of
rows; `detail` is "<survivor's id> <bits apart>" and `cluster` the survivor's. An image that cannot
be decoded repeats nothing: judging it is another step's task. A grouped step of 64-bit hashes; the
rounds are in data_pipelines/image_rounds.py.
"""

import functools
import io
from typing import Literal

import numpy as np
import pyarrow as pa

from data_pipelines import image_rounds, near_rounds
from data_pipelines.engine.plan import Emitted, Grouped, Loop, Round
from data_pipelines.kernels import perceptual
from data_pipelines.kernels.words import mix
from data_pipelines.survivors import lengths, require, scores
from data_pipelines.table import kept
from data_pipelines.verdicts import apply_verdicts
from ssljax.core.errors import ConfigError, needed

LARGEST = 100_000_000          # pixels; what decompresses to more is not decoded


def make(*, image: str = "image", kind: Literal["difference", "frequency"] = "frequency",
         within: int = 6, quality: str = "") -> Grouped:
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

    rounds = (
        Round("same", ("images",), functools.partial(image_rounds.same, within=within)),
        Round("near", ("pieces",), functools.partial(image_rounds.near, within=within)),
        Loop("components", (Round("large", ("links",), near_rounds.large),
                            Round("small", ("down",), near_rounds.small)), "links"),
        Round("families", ("edges", "links"), near_rounds.families),
        Round("survivors", ("families",), image_rounds.survivors),
        Round("copies", ("images", "settled"), image_rounds.copies),
    )
    return Grouped(functools.partial(emit, image=image, kind=kind, quality=quality), rounds,
                   apply_verdicts)


def emit(table: pa.Table, first: int, *, image: str, kind: str, quality: str) -> Emitted:
    """Return the hash of every image that can be decoded, and what it is preferred by."""
    rows = kept(table)
    encoded = require(table, image).take(pa.array(rows, pa.int64()))
    hashes = [image_hash(data.as_py(), kind) for data in encoded]
    sound = np.array([h is not None for h in hashes], bool)
    rows, values = rows[sound], np.array([h for h in hashes if h is not None], np.uint64)
    names = {n: table[n].take(pa.array(rows, pa.int64())).combine_chunks()
             for n in ("id", "cluster")}
    return {"images": pa.table({"key": mix(values), "hash": values, "row": rows + first,
                                "quality": scores(table, rows, quality),
                                "length": lengths(table, rows), **names})}


def image_hash(data: bytes | None, kind: str) -> int | None:
    """Return the hash of an encoded image, None where there is none that can be decoded."""
    with needed("pillow", "curate"):
        from PIL import Image
    size = (9, 8) if kind == "difference" else (32, 32)
    try:
        with Image.open(io.BytesIO(data or b"")) as picture:
            if picture.width * picture.height > LARGEST:
                return None
            grey = np.asarray(picture.convert("L").resize(size, Image.Resampling.LANCZOS))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    return (perceptual.difference_hash if kind == "difference" else perceptual.frequency_hash)(grey)
