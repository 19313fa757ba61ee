"""Drop images that are too small, long, blurred or flat, or that a function of the user refuses.

Reads and returns the table of documents with a column of encoded images; adds `image_width`,
`image_height` (int32), `image_sharpness`, `image_entropy` and, with a judge, `image_unsafe`
(float32); null where dropped before and where it cannot be decoded ("image_unreadable"). The first
failing rule names the drop, and `detail` is the value measured and its bound.
"""

import importlib
import io
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa

from data_pipelines.kernels.image_quality import aspect, entropy, sharpness
from data_pipelines.table import Step, add_column, drop, kept
from ssljax.core.errors import ConfigError, needed

ROWWISE = True
LARGEST = 100_000_000          # pixels; what decompresses to more is not decoded
COLUMNS = (("image_width", pa.int32()), ("image_height", pa.int32()),
           ("image_sharpness", pa.float32()), ("image_entropy", pa.float32()),
           ("image_unsafe", pa.float32()))

Judge = Callable[[bytes], float]


def make(*, image: str = "image", min_side: int = 64, max_aspect: float = 3.0,
         min_sharpness: float = 20.0, min_entropy: float = 3.0, judge: str = "",
         max_unsafe: float = 0.5) -> Step:
    """Return the step.

    Args:
        image: column of encoded images, bytes.
        min_side: least width and height, pixels. "image_small"
        max_aspect: longest side over the shorter; LAION's aesthetics sets use 3. "image_aspect"
        min_sharpness: least variance of the Laplacian of grey levels. "image_blurred"
        min_entropy: least entropy of grey levels, bits. "image_flat"
        judge: dotted name of a function from encoded bytes to a probability of being unsafe, such
            as "mylab.nsfw.score"; none is bundled, since no open one has free weights on PyPI.
        max_unsafe: greatest probability that is kept. "image_unsafe"

    Raises:
        ConfigError: there is no such function.
    """
    unsafe = find_function(judge) if judge else None
    bounds = dict(min_side=min_side, max_aspect=max_aspect, min_sharpness=min_sharpness,
                  min_entropy=min_entropy, max_unsafe=max_unsafe)

    def apply(table: pa.Table) -> pa.Table:
        columns: dict[str, list[Any]] = {n: [None] * table.num_rows for n, _ in COLUMNS}
        verdicts = {}
        for row in kept(table).tolist():
            data = table[image][row].as_py()
            found = measure(data, unsafe)
            verdict = fail(found, bounds)
            if verdict:
                verdicts[row] = verdict
            for name, value in (found or {}).items():
                columns[name][row] = value
        for name, kind in COLUMNS:
            if unsafe or name != "image_unsafe":
                table = add_column(table, name, pa.array(columns[name], kind))
        return drop(table, verdicts)

    return apply


def measure(data: bytes | None, unsafe: Judge | None) -> dict[str, float] | None:
    """Return what an encoded image measures, None where it cannot be decoded.

    Raises:
        MissingExtraError: Pillow is not installed.
    """
    with needed("pillow", "curate"):
        from PIL import Image
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")      # Pillow only warns of a decompression bomb
            with Image.open(io.BytesIO(data or b"")) as opened:
                width, height = opened.size
                if width * height > LARGEST:
                    return None
                grey = np.asarray(opened.convert("L"))
    except (OSError, ValueError, SyntaxError, Warning, MemoryError,
            Image.DecompressionBombError):
        return None
    found = {"image_width": width, "image_height": height, "image_sharpness": sharpness(grey),
             "image_entropy": entropy(grey)}
    return found | ({"image_unsafe": float(unsafe(data))} if unsafe else {})


def fail(found: dict[str, float] | None, bounds: dict[str, float]) -> tuple[str, str] | None:
    """Return the first failing rule and its detail, None where all hold."""
    if found is None:
        return "image_unreadable", "cannot be decoded, or has too many pixels"
    width, height = int(found["image_width"]), int(found["image_height"])
    rules = (("image_small", min(width, height), bounds["min_side"], 1),
             ("image_aspect", aspect(width, height), bounds["max_aspect"], -1),
             ("image_blurred", found["image_sharpness"], bounds["min_sharpness"], 1),
             ("image_flat", found["image_entropy"], bounds["min_entropy"], 1),
             ("image_unsafe", found.get("image_unsafe", 0.0), bounds["max_unsafe"], -1))
    for reason, value, bound, sign in rules:
        if not sign * value >= sign * bound:       # a judge's NaN fails too
            return reason, f"{value:.4g} {'<' if sign > 0 else '>'} {bound:g}"
    return None


def find_function(name: str) -> Judge:
    """Return the function of a dotted name.

    Raises:
        ConfigError: it cannot be imported.
    """
    module, _, attribute = name.rpartition(".")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as err:
        raise ConfigError(f"image_quality.judge = {name!r} cannot be imported: {err}; expected the "
                          "dotted name of a function on the Python path.") from err
