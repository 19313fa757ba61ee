"""From an artefact on disk to a version that answers."""

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ssljax.serve.adapters import make_places
from ssljax.serve.artefact import Artefact, load_artefact
from ssljax.serve.chat import turns_of
from ssljax.serve.device import make_device
from ssljax.serve.draft import with_draft
from ssljax.serve.encoder import FUNCTIONS
from ssljax.serve.encoding import start_encoding
from ssljax.serve.engine import start_engine
from ssljax.serve.fields import Limits
from ssljax.serve.metrics import Metrics, make_metrics
from ssljax.serve.served import Served


def load_served(path: Path, name: str = "", version: str = "1", *, slots: int,
                queue: int, queue_tokens: float = math.inf, share: float = 1.0, reserve: int = 0,
                sizes: Mapping[str, Any] = MappingProxyType({}), rows: int = 0,
                metrics: Metrics | None = None, draft: Artefact | None = None,
                open_artefact: Callable[[Path], Artefact] = load_artefact) -> Served:
    """Load an artefact, compile what it needs, and start what answers for it.

    Args:
        path: the artefact's folder.
        name: that clients ask for; the artefact's own unless told.
        version: beside others of the same name.
        slots: requests that are decoded together.
        queue: requests that may wait for a slot.
        queue_tokens: of prompts and answers that may wait.
        share: fraction of the queue that one caller may take.
        reserve: slots that one caller cannot take alone.
        sizes: of the engine, as make_layout takes them.
        rows: inputs that are embedded together; chosen by their shape unless told.
        metrics: are told of batches and guesses.
        draft: a smaller model that guesses for those that generate.
        open_artefact: reads and checks it; a server's may ask for a signature.

    Raises:
        ArtefactError: it is damaged or does not run here, or `draft` cannot guess for it.
        ServeError: it can do nothing that this server offers.
    """
    artefact = open_artefact(path)
    manifest = artefact.manifest
    name = name or manifest["name"]
    figures = (metrics or make_metrics()).of(name, version)
    adaptive = bool(sizes.get("adaptive"))
    engine, name_of_numbers, encoding = None, "", None
    places = make_places(artefact)
    if generates(artefact):
        device = make_device(artefact, slots=slots, places=places, **sizes)
        if draft is not None:
            device = with_draft(device, artefact, draft)
        device.warm_up()
        name_of_numbers = device.fingerprint
        engine = start_engine(device, artefact.tokenizer, queue=queue, tokens=queue_tokens,
                              share=share, reserve=reserve, waited=figures.queue_time,
                              guessed=figures.guessed, reused=figures.reused)
    if encodes(artefact) or engine is None:
        encoding = start_encoding(artefact, rows=rows, adaptive=adaptive, places=places,
                                  share=share, report=lambda filled, of, seconds:
                                  figures.batch(filled, of))
        name_of_numbers = name_of_numbers or encoding.fingerprint
    turns = turns_of(artefact) if engine else None
    return Served(name, version, artefact, name_of_numbers, int(time.time()), engine,
                  Limits(manifest.get("max_context", 0)), encoding, turns, places)


def generates(artefact: Artefact) -> bool:
    """Say whether the artefact is a decoder."""
    return artefact.manifest["kind"] == "decoder"


def encodes(artefact: Artefact) -> bool:
    """Say whether the artefact embeds or classifies."""
    return any(name in artefact.functions for name in FUNCTIONS)


def close_served(served: Served) -> None:
    """Stop the thread of a version; what still runs ends with an error."""
    if served.engine is not None:
        served.engine.close()
    if served.encoding is not None:
        served.encoding.close()
    if served.turns is not None:
        served.turns.close()
