"""Write a folder in another library's form: whole or not at all, and marked as ours to replace.

The mark is ssljax_export.json: what was exported, from where, and how it was checked.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ssljax.core.errors import ArtefactError
from ssljax.export.artefact import beside, is_empty_folder, replace

MARK = "ssljax_export.json"


def write_foreign(output: Path, about: Mapping[str, Any], target: str,
                  fill: Callable[[Path], Mapping[str, Any]]) -> dict[str, Any]:
    """Make the folder `output` of what `fill` writes, in place of an older one of ours.

    Args:
        output: the folder.
        about: the manifest's part of what is exported: name, kind, lineage.
        target: the form.
        fill: writes into the folder it is given, and says what is worth to be noted.

    Returns:
        What MARK says and, as manifests do, "files" {name: {"bytes"}} and "functions".

    Raises:
        ArtefactError: `output` exists and is not of ours.
    """
    if output.exists() and not (output / MARK).is_file() and not is_empty_folder(output):
        raise ArtefactError(f"{output} exists and is no folder that `ssljax export --target` wrote "
                            f"(it has no {MARK}); choose another --output or remove it.")
    with beside(output) as folder:
        noted = {"target": target, **{key: about[key] for key in ("name", "kind", "lineage")},
                 **fill(folder)}
        (folder / MARK).write_text(json.dumps(noted, indent=1, ensure_ascii=False) + "\n")
        files = {str(path.relative_to(folder)): {"bytes": path.stat().st_size}
                 for path in sorted(folder.rglob("*")) if path.is_file()}
        replace(folder, output)
    return {"functions": {}, **noted, "files": files}


def card_without_use(card: bytes, use: str) -> str:
    """Return a model card that says how to run this form instead of an artefact."""
    return card.decode().partition("## How to run it")[0] + f"## How to run it\n\n{use}"
