"""What the server counts, for Prometheus; figures carry model and version as labels.

Names and units follow https://prometheus.io/docs/practices/naming/.
"""

from collections.abc import Callable
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from ssljax.serve.engine import Load

# Seconds: from one decode step of a small model to a queue that is far too long.
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
MODEL = ("model", "version")


class ServerMetrics(NamedTuple):
    """Where the HTTP side reports what one version does.

    request:     (status, seconds) of a request; 499 is a client that went away
    first_token: (seconds) from the arrival of a request to the first piece of a choice
    tokens:      (prompt, generated), to be added
    """

    request: Callable[[int, float], None]
    first_token: Callable[[float], None]
    tokens: Callable[[int, int], None]


class Metrics(NamedTuple):
    """The figures of a server.

    of:     (model, version) -> where to report
    watch:  (model, version, load) -> None; queue and slots are read from `load` when asked for
    forget: (model, version) -> None: it is no longer watched; its counts stay
    render: () -> Prometheus' text
    """

    of: Callable[[str, str], ServerMetrics]
    watch: Callable[[str, str, Callable[[], Load]], None]
    forget: Callable[[str, str], None]
    render: Callable[[], bytes]


def make_metrics() -> Metrics:
    """Return metrics of their own registry."""
    registry = CollectorRegistry()
    made: dict[tuple[str, str], ServerMetrics] = {}

    def add(kind: type, name: str, text: str, *labels: str, **more: object) -> object:
        return kind(f"ssljax_{name}", text, (*MODEL, *labels), registry=registry, **more)

    requests = add(Counter, "requests", "Requests by HTTP status.", "status")
    seconds = add(Histogram, "request_seconds", "From arrival to the last byte.", buckets=SECONDS)
    first = add(Histogram, "time_to_first_token_seconds", "From arrival to the first text.",
                buckets=SECONDS)
    prompt = add(Counter, "prompt_tokens", "Tokens of prompts read.")
    generated = add(Counter, "generated_tokens", "Tokens generated.")
    gauges = {
        add(Gauge, "queue_length", "Requests that wait for a slot."): lambda load: load.waiting,
        add(Gauge, "slots_busy", "Slots that generate."): lambda load: load.busy,
        add(Gauge, "slots", "Slots in all."): lambda load: load.slots}

    def of(*model: str) -> ServerMetrics:
        if model not in made:
            made[model] = ServerMetrics(
                lambda status, elapsed: (requests.labels(*model, str(status)).inc(),
                                         seconds.labels(*model).observe(elapsed)),
                first.labels(*model).observe,
                lambda read, written: (prompt.labels(*model).inc(read),
                                       generated.labels(*model).inc(written)))
        return made[model]

    def watch(name: str, version: str, load: Callable[[], Load]) -> None:
        for gauge, figure in gauges.items():
            gauge.labels(name, version).set_function(
                lambda figure=figure: figure(load()))

    def forget(name: str, version: str) -> None:
        for gauge in gauges:
            gauge.remove(name, version)

    return Metrics(of, watch, forget, lambda: generate_latest(registry))
