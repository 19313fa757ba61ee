"""All of a server's state in one place, before HTTP."""

from collections.abc import Callable, Mapping
from typing import Any

from ssljax.serve.gate import make_gate
from ssljax.serve.inputs import Fetch, refuse_urls
from ssljax.serve.jobs_folder import Jobs
from ssljax.serve.keys import Keys, no_keys
from ssljax.serve.metrics import Metrics, make_metrics
from ssljax.serve.served import Server
from ssljax.serve.switchboard import Load, make_switchboard

BODY = 1 << 20                     # bytes
Log = Callable[[Mapping[str, Any]], None]


def open_server(load: Load, *, metrics: Metrics | None = None, keys: Keys | None = None,
                log: Log = lambda facts: None, body: int = BODY,
                jobs: Jobs | None = None, fetch: Fetch = refuse_urls) -> Server:
    """Return the state of a server without models; `server.models.load` brings them.

    Args:
        load: (artefact's folder, name, version) -> a version that answers.
        metrics: that `load` reports to as well; new ones unless told.
        keys: who may ask; nobody is asked for a key unless told.
        log: is given the facts of every call that has ended; must not block.
        body: bytes of a request's body that are read at most.
        jobs: files and batches; none are offered unless told.
        fetch: gets what a URL in an input names; refuses unless told.
    """
    metrics = metrics or make_metrics()
    models = make_switchboard(load, metrics)
    return Server(models.find, models.served, models, metrics, keys or no_keys(), make_gate(), log,
                  body, jobs, fetch)
