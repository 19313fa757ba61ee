"""Weights as safetensors files, in several where they are large.

Hugging Face's layout, https://huggingface.co/docs/safetensors: model.safetensors, or
model-00001-of-0000N.safetensors with model.safetensors.index.json, which tells other tools which
file holds what.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

SHARD = 2 * 10**9                # bytes of a file; what some file systems and proxies still limit
INDEX = "model.safetensors.index.json"


def write_weights(folder: Path, leaves: Mapping[str, np.ndarray], *,
                  shard: int = SHARD, metadata: Mapping[str, str] | None = None,
                  ) -> dict[str, Any]:
    """Write arrays by name into `folder`.

    Args:
        folder: exists.
        leaves: on the host.
        shard: bytes of a file at most; a larger array has a file of its own.
        metadata: for the header of every file.

    Returns:
        For the manifest: "files" in their order, "bytes" and number of "arrays" in all.
    """
    parts = split({name: leaf.nbytes for name, leaf in leaves.items()}, shard)
    files = names(len(parts))
    for file, part in zip(files, parts, strict=True):
        save_file({name: np.ascontiguousarray(leaves[name]) for name in part}, folder / file,
                  metadata=metadata)
    total = sum(leaf.nbytes for leaf in leaves.values())
    if len(files) > 1:
        placed = {name: file for file, part in zip(files, parts, strict=True) for name in part}
        index = {"metadata": {"total_size": total}, "weight_map": placed}
        (folder / INDEX).write_text(json.dumps(index, indent=1) + "\n")
    return {"files": files, "bytes": total, "arrays": len(leaves)}


def split(sizes: Mapping[str, int], limit: int) -> list[list[str]]:
    """Return names in groups of at most `limit` bytes, in their order; at least one group."""
    groups: list[list[str]] = [[]]
    room = limit
    for name, size in sizes.items():
        if groups[-1] and size > room:
            groups.append([])
            room = limit
        groups[-1].append(name)
        room -= size
    return groups


def names(count: int) -> list[str]:
    """Return the names of `count` files."""
    if count == 1:
        return ["model.safetensors"]
    return [f"model-{i:05d}-of-{count:05d}.safetensors" for i in range(1, count + 1)]
