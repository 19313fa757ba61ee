"""Open an artefact in this process; where jax has changed, with programs made anew.

Programs are kept readable for 6 months. An artefact also holds its recipe: where the model code is
installed, programs that this jax cannot run are lowered from that, once, and kept in the user's
cache; the golden answers judge them as any others. Serving alone needs no model code.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from ssljax import __version__
from ssljax.core.cache import entry, users_folder
from ssljax.core.errors import ArtefactError
from ssljax.serve.artefact import Artefact, load_artefact
from ssljax.serve.weights import Place, on_default_device


def open_artefact(path: str | Path, *, trusted: Sequence[Path] = (),
                  place: Place = on_default_device) -> Artefact:
    """Return an artefact, its programs from its recipe where this jax cannot run its own.

    Args:
        path: folder that `ssljax export` wrote.
        trusted: PEM files of public Ed25519 keys, one of which must have signed; () asks for none.
        place: puts each array of the weights on its devices.

    Raises:
        ArtefactError: it is damaged, not signed by a trusted key, or does not run here.
    """
    return load_artefact(Path(path), trusted=trusted, place=place, relower=relowered)


def relowered(path: Path, manifest: Mapping[str, Any]) -> dict[str, bytes]:
    """Return the programs of an artefact, lowered by this jax or taken from the user's cache.

    Raises:
        ArtefactError: the model code is not installed, or makes other functions.
    """
    key = {"files": manifest["files"], "jax": jax.__version__, "ssljax": __version__}

    def write(folder: Path) -> None:
        from ssljax.runs.relower import lower_again  # the model code, which few servers have

        for name, program in lower_again(path, manifest).items():
            (folder / f"{name}.jaxexp").write_bytes(program.data)

    try:
        folder = entry(users_folder(), "relowered", key, write)
    except ImportError as err:
        raise ArtefactError(
            f"{path}: jax {jax.__version__} cannot run its programs, lowered by jax "
            f"{manifest['jax'].get('version')}, and the model code that would lower them again is "
            f"not installed ({err}). Install ssljax[train] or that jax.") from err
    return {name: (folder / f"{name}.jaxexp").read_bytes() for name in manifest["functions"]}
