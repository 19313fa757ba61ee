"""What the server counts, for Prometheus; every figure carries the model's name as a label.

Names and units follow https://prometheus.io/docs/practices/naming/.
"""

from collections.abc import Callable
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from ssljax.serve.engine import Load

# Seconds: from one decode step of a small model to a queue that is far too long.
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class ServerMetrics(NamedTuple):
    """Where the HTTP side reports.

    request:     (status, seconds) of a completion request; 499 is a client that went away
    first_token: (seconds) from the arrival of a request to the first piece of a choice
    tokens:      (prompt, generated), to be added
    render:      () -> Prometheus' text
    """

    request: Callable[[int, float], None]
    first_token: Callable[[float], None]
    tokens: Callable[[int, int], None]
    render: Callable[[], bytes]


def make_metrics(model: str, load: Callable[[], Load]) -> ServerMetrics:
    """Return metrics of their own registry; queue and slots are read from `load` when asked for."""
    registry = CollectorRegistry()

    def add(kind: type, name: str, text: str, *labels: str, **more: object) -> object:
        metric = kind(f"ssljax_{name}", text, ("model", *labels), registry=registry, **more)
        return metric if labels else metric.labels(model)

    requests = add(Counter, "requests", "Completion requests by HTTP status.", "status")
    seconds = add(Histogram, "request_seconds", "From arrival to the last byte.", buckets=SECONDS)
    first = add(Histogram, "time_to_first_token_seconds", "From arrival to the first text.",
                buckets=SECONDS)
    prompt = add(Counter, "prompt_tokens", "Tokens of prompts read.")
    generated = add(Counter, "generated_tokens", "Tokens generated.")
    add(Gauge, "queue_length", "Requests that wait for a slot.").set_function(
        lambda: load().waiting)
    add(Gauge, "slots_busy", "Slots that generate.").set_function(lambda: load().busy)
    add(Gauge, "slots", "Slots in all.").set_function(lambda: load().slots)

    def request(status: int, elapsed: float) -> None:
        requests.labels(model, str(status)).inc()
        seconds.observe(elapsed)

    def tokens(read: int, written: int) -> None:
        prompt.inc(read)
        generated.inc(written)

    return ServerMetrics(request, first.observe, tokens, lambda: generate_latest(registry))
