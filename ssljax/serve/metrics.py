"""What the server counts, for Prometheus; figures carry model and version as labels.

Names and units follow https://prometheus.io/docs/practices/naming/. Those that have one are given
a second time under vLLM's name, which dashboards and autoscalers in the wild ask for:
https://docs.vllm.ai/en/latest/usage/metrics.html.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, generate_latest

from ssljax.serve.batching import Figures
from ssljax.serve.engine import Load

# Seconds: from one decode step of a small model to a queue that is far too long.
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
FILL = (0.0625, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1)
MODEL = ("model", "version")
ALIASES = {
    "ssljax_time_to_first_token_seconds": "vllm:time_to_first_token_seconds",
    "ssljax_time_per_output_token_seconds": "vllm:request_time_per_output_token_seconds",
    "ssljax_inter_token_latency_seconds": "vllm:inter_token_latency_seconds",
    "ssljax_request_seconds": "vllm:e2e_request_latency_seconds",
    "ssljax_queue_seconds": "vllm:request_queue_time_seconds",
    "ssljax_slots_busy": "vllm:num_requests_running",
    "ssljax_queue_length": "vllm:num_requests_waiting",
    "ssljax_cache_use": "vllm:kv_cache_usage_perc",
    "ssljax_prefix_cache_queries": "vllm:prefix_cache_queries",
    "ssljax_prefix_cache_hits": "vllm:prefix_cache_hits",
    "ssljax_prompt_tokens": "vllm:prompt_tokens",
    "ssljax_generated_tokens": "vllm:generation_tokens",
    "ssljax_finished": "vllm:request_success",
    "ssljax_rejections": "vllm:admission_rejections",
    "ssljax_guessed_tokens": "vllm:spec_decode_num_draft_tokens",
    "ssljax_accepted_tokens": "vllm:spec_decode_num_accepted_tokens",
}
LABELS = {"model": "model_name", "reason": "finished_reason"}      # vLLM's words for ours


class ServerMetrics(NamedTuple):
    """Where one version's doings are reported; callable from any thread.

    request:     (status, seconds) of a call that has ended; 499 is a client that went away
    first_token: (seconds) from the arrival of a call to the first token of a choice
    token_time:  (seconds) a token after the first, the mean of a choice
    between_tokens: (seconds) from a token of a choice to the next
    queue_time:  (seconds) from being handed over to being worked on
    tokens:      (prompt, generated), to be added
    finished:    (reason) of a choice that has ended: "stop" or "length"
    rejected:    () a call found no room
    batch:       (rows, places) of a batch that has run
    guessed:     (guesses, accepted) of next tokens, to be added
    reused:      (tokens of a prompt, those that the prefix cache had), to be added
    """

    request: Callable[[int, float], None]
    first_token: Callable[[float], None]
    token_time: Callable[[float], None]
    between_tokens: Callable[[float], None]
    queue_time: Callable[[float], None]
    tokens: Callable[[int, int], None]
    finished: Callable[[str], None]
    rejected: Callable[[], None]
    batch: Callable[[int, int], None]
    guessed: Callable[[int, int], None]
    reused: Callable[[int, int], None]


class Metrics(NamedTuple):
    """The figures of a server.

    of:     (model, version) -> where to report
    watch:  (model, version, load) -> None; queue, slots and pages are read from `load` when asked
            for; pages of engines only
    forget: (model, version) -> None: it is no longer watched; its counts stay
    render: () -> Prometheus' text
    """

    of: Callable[[str, str], ServerMetrics]
    watch: Callable[[str, str, Callable[[], Load | Figures]], None]
    forget: Callable[[str, str], None]
    render: Callable[[], bytes]


class Families(NamedTuple):
    """What prometheus_client asks of a registry that is rendered."""

    collect: Callable[[], Iterable[Metric]]


def make_metrics() -> Metrics:
    """Return metrics of their own registry."""
    registry = CollectorRegistry()
    made: dict[tuple[str, str], ServerMetrics] = {}

    def add(kind: type, name: str, text: str, *labels: str, **more: object) -> object:
        return kind(f"ssljax_{name}", text, (*MODEL, *labels), registry=registry, **more)

    def seconds(name: str, text: str) -> Histogram:
        return add(Histogram, f"{name}_seconds", text, buckets=SECONDS)

    requests = add(Counter, "requests", "Requests by HTTP status.", "status")
    whole = seconds("request", "From arrival to the last byte.")
    first = seconds("time_to_first_token", "From arrival to the first token of a choice.")
    each = seconds("time_per_output_token", "A token after the first, the mean of a choice.")
    between = seconds("inter_token_latency", "From a token of a choice to the next.")
    queue = seconds("queue", "From being handed over to being worked on.")
    prompt = add(Counter, "prompt_tokens", "Tokens of prompts read.")
    generated = add(Counter, "generated_tokens", "Tokens generated.")
    finished = add(Counter, "finished", "Choices that ended, by reason.", "reason")
    rejected = add(Counter, "rejections", "Requests that found no room.")
    fill = add(Histogram, "batch_fill", "Share of a batch's places in use.", buckets=FILL)
    guesses = add(Counter, "guessed_tokens", "Next tokens guessed, looked up or drafted.")
    accepted = add(Counter, "accepted_tokens", "Of them, those that the model agreed to.")
    queries = add(Counter, "prefix_cache_queries", "Tokens of prompts looked up in the cache.")
    hits = add(Counter, "prefix_cache_hits", "Of them, those that were not read again.")
    gauges = {
        add(Gauge, "queue_length", "Requests that wait."): lambda load: load.waiting,
        add(Gauge, "slots_busy", "Slots that generate."): lambda load: load.busy,
        add(Gauge, "slots", "Slots in all."): lambda load: load.slots,
        add(Gauge, "slot_use", "Share of slots in use."): lambda load: load.busy / load.slots}
    of_pages = {
        add(Gauge, "cache_pages", "Pages of the cache."): lambda pages: pages.pages,
        add(Gauge, "cache_pages_used", "Pages of requests that run."): lambda pages: pages.used,
        add(Gauge, "cache_pages_kept", "Pages of prefixes only."): lambda pages: pages.kept,
        add(Gauge, "cache_use", "Share of the cache's pages that requests have."):
            lambda pages: pages.used / pages.pages}

    def of(*model: str) -> ServerMetrics:
        if model not in made:
            total = whole.labels(*model).observe
            read, written = prompt.labels(*model).inc, generated.labels(*model).inc
            tried, right = guesses.labels(*model).inc, accepted.labels(*model).inc
            asked, found = queries.labels(*model).inc, hits.labels(*model).inc
            by_status = cache(lambda status: requests.labels(*model, str(status)).inc)
            made[model] = ServerMetrics(
                lambda status, elapsed: (by_status(status)(), total(elapsed)),
                first.labels(*model).observe, each.labels(*model).observe,
                between.labels(*model).observe, queue.labels(*model).observe,
                lambda a, b: (read(a), written(b)),
                lambda reason: finished.labels(*model, reason).inc(),
                rejected.labels(*model).inc,
                lambda rows, places: fill.labels(*model).observe(rows / places),
                lambda a, b: (tried(a), right(b)), lambda a, b: (asked(a), found(b)))
        return made[model]

    def watch(name: str, version: str, load: Callable[[], Load | Figures]) -> None:
        for gauge, figure in gauges.items():
            gauge.labels(name, version).set_function(lambda figure=figure: figure(load()))
        for gauge, figure in of_pages.items() if isinstance(load(), Load) else ():
            gauge.labels(name, version).set_function(lambda figure=figure: figure(load().pages))

    def forget(name: str, version: str) -> None:
        for gauge in (*gauges, *of_pages):
            gauge.remove(name, version)

    return Metrics(of, watch, forget,
                   lambda: generate_latest(Families(lambda: with_aliases(registry.collect()))))


def with_aliases(families: Iterable[Metric]) -> Iterator[Metric]:
    """Yield every family, and after it the same figures under vLLM's name."""
    for family in families:
        yield family
        if alias := ALIASES.get(family.name):
            twin = Metric(alias, family.documentation, family.type)
            for sample in family.samples:
                labels = {LABELS.get(name, name): value for name, value in sample.labels.items()}
                twin.add_sample(alias + sample.name.removeprefix(family.name), labels, sample.value)
            yield twin
