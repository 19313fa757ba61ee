"""What a server says once it accepts requests: where, and which models answer on which routes.

A line for each kind of model, not for each model, so that many of them stay a handful of lines.
"""

from collections.abc import Sequence

from ssljax.serve.inputs import media_of
from ssljax.serve.served import Served


def announcement(url: str, served: Sequence[Served], *, keyed: bool) -> list[str]:
    """Return the lines.

    Args:
        url: where the server listens.
        served: every version that is loaded.
        keyed: whether requests need a key.
    """
    kinds: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for one in served:
        kinds.setdefault((kind_of(one), paths_of(one)), []).append(f"{one.name}@{one.version}")
    key = "; send Authorization: Bearer KEY" if keyed else ""
    return [f"Serving on {url} (Ctrl-C ends{key}):",
            *(f"  {', '.join(names)} ({kind}): {', '.join(paths)}"
              for (kind, paths), names in kinds.items()),
            f"  all: /v1/models, /v2/models/NAME/infer, /metrics; {url}/openapi.json has every "
            f"route, and {url}/ is a page to try them"]


def kind_of(one: Served) -> str:
    """Return what a model is, in words."""
    kind = one.artefact.manifest["kind"]
    if one.parent is not None:
        return f"adapter of {one.parent.name}@{one.parent.version}"
    return kind if one.engine else f"{kind} of {' and '.join(media_of(one.artefact)) or 'text'}"


def paths_of(one: Served) -> tuple[str, ...]:
    """Return the routes that answer for a model, besides those that answer for all."""
    functions = one.encoding.functions if one.encoding else ()
    offered = {"/v1/completions": one.engine, "/v1/chat/completions": one.turns,
               "/v1/embeddings": "embed" in functions, "/v1/classify": "classify" in functions}
    return tuple(path for path, there in offered.items() if there)
