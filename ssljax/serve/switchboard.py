"""Which version of which model answers a call."""

from collections.abc import Sequence

from ssljax.core.errors import RequestError
from ssljax.serve.completions import show
from ssljax.serve.metrics import make_metrics
from ssljax.serve.served import Call, Served, Server

BODY = 1 << 20


def open_server(models: Sequence[Served], *, api_key: str | None = None,
                body: int = BODY) -> Server:
    """Return the state of a server of `models`."""
    metrics = make_metrics()
    for one in models:
        if one.engine is not None:
            metrics.watch(one.name, one.version, one.engine.load)

    def find(name: str | None, call: Call) -> Served:
        found = choose(models, name)
        call.note(metrics=metrics.of(found.name, found.version), model=found.name,
                  version=found.version)
        return found

    return Server(find, lambda: tuple(models), metrics, lambda: "", body, api_key)


def choose(models: Sequence[Served], name: str | None) -> Served:
    """Return the version that `name` asks for.

    Raises:
        RequestError: there is none, or no name was given where there are several (404).
    """
    names = sorted({one.name for one in models})
    if name is None and len(names) == 1:
        return models[0]
    for one in models:
        if name in (one.name, f"{one.name}@{one.version}"):
            return one
    raise RequestError(f"model {show(name)} is not served here; {', '.join(names)} "
                       f"{'are' if len(names) > 1 else 'is'}.", status=404, param="model",
                       code="model_not_found")
