"""Names what decides the numbers of an answer, down to their last bit.

The same request gives the same text and log probabilities wherever this name is the same and the
seed is given: OpenAI's `system_fingerprint`,
https://platform.openai.com/docs/api-reference/completions/object.
"""

import hashlib
import json
from typing import Any

import jax
import jaxlib

from ssljax.serve.artefact import Artefact
from ssljax.serve.layout import Layout


def ingredients(artefact: Artefact, layout: Layout) -> dict[str, Any]:
    """Return all that decides the numbers, as plain data.

    Pages are among them because attention sums page by page; how many there are in all, and how
    many tokens a dispatch decodes, changes nothing and is not.
    """
    files = sorted((name, spec["sha256"]) for name, spec in artefact.manifest["files"].items())
    leaves = jax.tree.leaves(artefact.weights)
    devices = leaves[0].sharding.device_set if leaves else {jax.devices()[0]}
    device = min(devices, key=lambda device: device.id)
    return {"artefact": hashlib.sha256(json.dumps(files).encode()).hexdigest(),
            "slots": layout.slots, "rows": list(layout.rows), "context": layout.context,
            "page": layout.page, "chunk": layout.chunk, "guesses": layout.guesses,
            "buckets": list(layout.buckets),
            "jax": jax.__version__, "jaxlib": jaxlib.__version__, "platform": device.platform,
            "device": device.device_kind, "devices": len(devices)}


def fingerprint(parts: dict[str, Any]) -> str:
    """Return a short name of `parts`, the sizes legible: "fp_1a2b3c4d5e6f-s8-c128-p64"."""
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]
    adaptive = "-adaptive" if len(parts["rows"]) > 1 else ""
    return f"fp_{digest}-s{parts['slots']}-c{parts['chunk']}-p{parts['page']}{adaptive}"
