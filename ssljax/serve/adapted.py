"""An adapter as a model of its own: it shares everything with its base but its place.

Its rows run in the base's engine and batches, beside rows of the base and of other adapters.
"""

import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from ssljax.core.errors import RequestError
from ssljax.serve.adapter_folder import read_adapter
from ssljax.serve.encoding import Encoding
from ssljax.serve.engine import Cancel, Deliver, Engine, StoppedError
from ssljax.serve.jobs import Adapted, Job, Piece
from ssljax.serve.served import Parent, Served

GONE = "The adapter was unloaded; its call had no time left."


def load_adapter(folder: Path, name: str, version: str, base: Served) -> Served:
    """Return the adapter in `folder` as a version that answers.

    Args:
        folder: as PEFT writes it.
        name: that clients ask for.
        version: beside others of the same name.
        base: the model that it changes.

    Raises:
        ArtefactError: it cannot be read, or is of another base.
        RequestError: the base has no room, or no place is free (409).
    """
    adapter = read_adapter(folder, base.artefact) if base.places.count else None
    place = base.places.put(adapter)
    mine = Adapted(place, adapter.digest)
    label = f"-lora{adapter.digest[:12]}"
    encoding = base.encoding and adapted_encoding(base.encoding, place, label)

    def free() -> None:
        if encoding is not None:
            encoding.close()
        base.places.free(place)

    return base._replace(
        name=name, version=version, created=int(time.time()),
        fingerprint=base.fingerprint + label, encoding=encoding,
        engine=adapted_engine(base.engine, mine, free),
        turns=base.turns and base.turns._replace(close=lambda: None),
        parent=Parent(base.name, base.version, folder, adapter.rank))


def adapted_engine(engine: Engine, mine: Adapted, free: Callable[[], None]) -> Engine:
    """Return the base's engine for rows of one adapter; closing it ends those and no others.

    Args:
        engine: of the base.
        mine: the adapter.
        free: called once at the end, when none of its rows runs any more.
    """
    lock, closed = threading.Lock(), False
    calls: dict[object, tuple[dict[int, Deliver], list[Cancel]]] = {}

    def submit(jobs: Iterable[tuple[Job, Deliver]]) -> Cancel:
        asked, call = [(job._replace(adapter=mine), deliver) for job, deliver in jobs], object()
        left, cancels = {index: deliver for index, (_, deliver) in enumerate(asked)}, []

        def receiver(index: int, deliver: Deliver) -> Deliver:
            def receive(piece: Piece) -> None:
                if piece.finish is not None or piece.error is not None:
                    ended(index)
                deliver(piece)

            return receive

        def ended(*indices: int) -> None:
            with lock:
                for index in indices:
                    left.pop(index, None)
                if not left:
                    calls.pop(call, None)

        def cancel() -> None:
            ended(*range(len(asked)))
            for stop in cancels:
                stop()

        with lock:
            if closed:
                raise StoppedError(GONE)
            calls[call] = left, cancels
        try:
            cancels.append(engine.submit([(job, receiver(index, deliver))
                                          for index, (job, deliver) in enumerate(asked)]))
        except BaseException:
            ended(*range(len(asked)))
            raise
        if closed:                                   # meanwhile, before there was what to cancel
            cancel()
            raise StoppedError(GONE)
        return cancel

    def close() -> None:
        nonlocal closed
        with lock:
            if closed:
                return
            closed, ongoing = True, [(dict(left), cancels) for left, cancels in calls.values()]
        for left, cancels in ongoing:
            for stop in cancels:                     # before the place is another's
                stop()
            for deliver in left.values():
                deliver(Piece(error=GONE, status=503))
        free()

    return engine._replace(submit=submit, close=close)


def adapted_encoding(encoding: Encoding, place: int, label: str) -> Encoding:
    """Return the base's encoding for rows of the adapter at `place`."""
    closed = False

    async def encode(*args: Any, **more: Any) -> list[np.ndarray]:
        rows = await encoding.encode(*args, **more, place=place)
        if closed:                                   # what was computed may be another adapter's
            raise RequestError(GONE, status=503, retry_after=1.0)
        return rows

    def close() -> None:
        nonlocal closed
        closed = True

    return encoding._replace(encode=encode, close=close, fingerprint=encoding.fingerprint + label)
