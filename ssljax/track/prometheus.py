"""The newest value of every metric at http://host:port/metrics, for Prometheus to scrape.

"loss" becomes ssljax_loss, "grad_norm/BLOCK" ssljax_block_grad_norm{block="BLOCK"},
"gpu_power_watts/0" ssljax_device_gpu_power_watts{device="0"} and an evaluation's "knn/accuracy"
ssljax_evaluation{evaluator="knn", metric="accuracy"}; each has the label `run`. The names are in
track/names.py, a dashboard for them in tools/grafana/.
"""

import pathlib
import re
import time
from collections.abc import Iterator, Mapping

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from ssljax.core.errors import ConfigError
from ssljax.core.types import Writer
from ssljax.track.names import BY_BLOCK, BY_DEVICE, BY_REASON, METRICS

PORT = 9464          # the one that the Prometheus project lists for OpenTelemetry's exporters
# What the exporter adds: how far the run is, and when it last said so (an alert on silence).
OWN = {"step": "Last logged step.", "total_steps": "Where the run ends.",
       "logged_timestamp_seconds": "Unix time of the last logged step."}
EVALUATION = "ssljax_evaluation"
Sample = tuple[str, tuple[tuple[str, str], ...]]         # (exported name, its labels)


def exported(name: str) -> Sample:
    """Return the exported name of a logged one, and its labels."""
    kind, slash, rest = name.partition("/")
    if not slash:
        return f"ssljax_{re.sub('[^a-zA-Z0-9_]', '_', name)}", ()
    if kind in BY_BLOCK:
        return f"ssljax_block_{kind}", (("block", rest),)
    if kind in BY_DEVICE:
        return f"ssljax_device_{kind}", (("device", rest),)
    if kind in BY_REASON:
        return f"ssljax_{kind}", (("reason", rest),)
    return EVALUATION, (("evaluator", kind), ("metric", rest))


def known_names() -> set[str]:
    """Return the exported names that do not depend on the method: what a dashboard may ask for."""
    logged = [*METRICS, *OWN, *BY_DEVICE, "label/figure",
              *(f"{name}/block" for name in BY_BLOCK), *(f"{name}/0" for name in BY_DEVICE),
              *(f"{name}/damaged" for name in BY_REASON)]
    return {exported(name)[0] for name in logged}


class Newest(Collector):
    """The last value of each metric; read from the server's threads, replaced by the trainer."""

    def __init__(self, run: str):
        """Start without any value."""
        self.run = run
        self.values: Mapping[Sample, float] = {}

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the metrics as Prometheus' client wants them, a family a name."""
        values = self.values
        texts = {exported(n)[0]: text for n, text in
                 {**METRICS, **OWN, **BY_DEVICE, **BY_REASON}.items()}
        for family in sorted({name for name, _ in values}):
            samples = {labels: x for (name, labels), x in values.items() if name == family}
            label_names = [name for name, _ in next(iter(samples))]
            gauge = GaugeMetricFamily(family, texts.get(family, "As the run logs it."),
                                      labels=["run", *label_names])
            for labels, x in samples.items():
                gauge.add_metric([self.run, *(value for _, value in labels)], x)
            yield gauge


def make(*, host: str = "127.0.0.1", port: int = PORT, workdir: pathlib.Path, start: int,
         total_steps: int) -> Writer:
    """Return a writer that serves the newest values until it is closed.

    Args:
        host: the address to listen on; "0.0.0.0" lets other machines scrape. Nobody is asked for
            a password, so the default is this machine alone.
        port: 0 takes a free one.
        workdir: its last part is the label `run`.
        start: step that the run continues from.
        total_steps: where the run ends.

    Raises:
        ConfigError: the address is not free, or not one of this machine.
    """
    newest, registry = Newest(workdir.absolute().name), CollectorRegistry()
    registry.register(newest)
    try:
        server, thread = start_http_server(port, host, registry)
    except (OSError, OverflowError) as err:
        raise ConfigError(f"Prometheus metrics cannot be served at {host}:{port} ({err}); choose "
                          "another track port, or port=0 for a free one.") from err
    # The port matters to whoever configures the scraper, so it is said and not only logged.
    print(f"Metrics for Prometheus: http://{host}:{server.server_port}/metrics", flush=True)

    def write(step: int, scalars: Mapping[str, float]) -> None:
        now = {"step": step, "total_steps": total_steps, "logged_timestamp_seconds": time.time()}
        # A new mapping: a scrape under way keeps the old one.
        newest.values = {**newest.values,
                         **{exported(n): float(x) for n, x in {**scalars, **now}.items()}}

    def close() -> None:
        server.shutdown()
        thread.join()
        server.server_close()

    write(start, {})
    return Writer(write, close)
