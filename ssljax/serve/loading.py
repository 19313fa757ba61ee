"""From an artefact on disk to a version that answers."""

import hashlib
import time
from pathlib import Path

import jax

from ssljax.serve.artefact import Artefact, load_artefact
from ssljax.serve.completions import Limits
from ssljax.serve.device import make_device
from ssljax.serve.engine import start_engine
from ssljax.serve.served import Served


def load_served(path: Path, *, name: str = "", version: str = "1", slots: int,
                queue: int) -> Served:
    """Load an artefact, compile what it needs, and start its engine.

    Args:
        path: the artefact's folder.
        name: that clients ask for; the artefact's own unless told.
        version: beside others of the same name.
        slots: requests that are decoded together.
        queue: requests that may wait for a slot.

    Raises:
        ArtefactError: it is damaged or does not run here.
        ServeError: it is no decoder.
    """
    artefact = load_artefact(path)
    device = make_device(artefact, slots=slots)
    device.warm_up()
    engine = start_engine(device, artefact.tokenizer, queue=queue)
    manifest = artefact.manifest
    return Served(name or manifest["name"], version, artefact, fingerprint(artefact, slots),
                  int(time.time()), engine, Limits(manifest["max_context"]))


def fingerprint(artefact: Artefact, slots: int) -> str:
    """Return what decides the numbers of an answer, as OpenAI's system_fingerprint."""
    files = sorted((name, spec["sha256"]) for name, spec in artefact.manifest["files"].items())
    digest = hashlib.sha256(repr(files).encode()).hexdigest()[:12]
    return f"ssljax-{digest}-slots{slots}-jax{jax.__version__}"


def close_served(served: Served) -> None:
    """Stop the thread of a version; what still runs ends with an error."""
    if served.engine is not None:
        served.engine.close()
