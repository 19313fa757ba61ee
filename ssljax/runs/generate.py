"""Continue one prompt from an artefact, in this process, without HTTP."""

import queue
from collections.abc import Iterator, Sequence
from pathlib import Path

from ssljax.core.errors import ServeError
from ssljax.runs.artefact import open_artefact
from ssljax.serve.completions import parse_completion
from ssljax.serve.device import make_device
from ssljax.serve.engine import start_engine
from ssljax.serve.fields import Limits


def generate(artefact: str | Path, prompt: str, *, max_tokens: int = 100, temperature: float = 0.8,
             top_p: float = 0.95, seed: int | None = None,
             trusted: Sequence[Path] = ()) -> Iterator[str]:
    """Yield `prompt`, then its continuation in pieces, as they come.

    Args:
        artefact: folder that `ssljax export` wrote.
        prompt: text; may be empty.
        max_tokens: to generate at most.
        temperature: 0 always takes the most probable token.
        top_p: draw from the most probable tokens of this mass.
        seed: the same seed gives the same text; None draws one.
        trusted: public keys, one of which must have signed the artefact; () asks for none.

    Raises:
        ArtefactError: the artefact is damaged or does not run here.
        RequestError: an option is out of bounds, or the prompt is too long.
        ServeError: the artefact is no decoder, or the device failed.
    """
    loaded = open_artefact(artefact, trusted=trusted)
    device = make_device(loaded, slots=1)
    limits = Limits(loaded.manifest["max_context"])
    fields = {"prompt": prompt, "max_tokens": max_tokens, "temperature": temperature,
              "top_p": top_p, "seed": seed, "echo": True}
    [job] = parse_completion(fields, limits, loaded.tokenizer).jobs
    engine = start_engine(device, loaded.tokenizer, queue=0)
    pieces: queue.Queue = queue.Queue()
    try:
        engine.submit([(job, pieces.put)])
        while True:
            piece = pieces.get()
            if piece.error is not None:
                raise ServeError(piece.error)
            yield piece.text
            if piece.finish:
                return
    finally:
        engine.close()
