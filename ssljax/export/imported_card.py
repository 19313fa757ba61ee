"""README.md of an artefact that was imported: what is known of it here, and what is not."""

from collections.abc import Mapping
from typing import Any

from ssljax.export.model_card import limits_lines, table, use_lines

ORIGIN = """\
Imported from `{source}` (architecture `{architecture}` of Hugging Face's transformers). What it
learnt from, how well and under which licence, its authors say where it comes from; nothing of that
was checked here. The weights are theirs, as float32; config.json holds theirs under `imported`."""


def imported_card(about: Mapping[str, Any], parameters: int, model: Mapping[str, Any]) -> str:
    """Return the card as Markdown.

    Args:
        about: the manifest's own part.
        parameters: number of weights.
        model: spec of our network.
    """
    lineage = about["lineage"]
    what = [f"A {about['kind']} of {parameters:,} parameters, network `{model['name']}`.", "",
            ORIGIN.format(source=lineage["imported_from"], architecture=lineage["architecture"]),
            "", *table(("setting", "value"), ((key, str(value)) for key, value in model.items()
                                              if key != "name"))]
    sections = {"Limits": limits_lines(about), "How to run it": use_lines(about)}
    parts = [f"# {about['name']}", "\n".join(what)]
    for title, lines in sections.items():
        parts += [f"## {title}", "\n".join(lines)]
    return "\n\n".join(parts) + "\n"
