"""What a scraper reads is what the run logged last, under names that the dashboard can ask for."""

import json
import math
import pathlib
import re
import socket
import urllib.error
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ssljax.core.errors import ConfigError
from ssljax.track import prometheus
from ssljax.track.names import BY_BLOCK, BY_DEVICE, BY_REASON, METRICS

DASHBOARD = pathlib.Path(__file__).parents[2] / "tools" / "grafana" / "training.json"


@pytest.fixture
def served(tmp_path, capsys):
    """Return a writer and () -> {(name, labels without run): value} of its endpoint."""
    writer = prometheus.make(port=0, workdir=tmp_path / "run-a", start=3, total_steps=10)
    url = re.search(r"http://127\.0\.0\.1:\d+/metrics", capsys.readouterr().out)[0]

    def scrape() -> dict:
        text = urllib.request.urlopen(url, timeout=10).read().decode()
        samples = [s for f in text_string_to_metric_families(text) for s in f.samples]
        assert {s.labels.pop("run") for s in samples} == {"run-a"}
        return {(s.name, *s.labels.items()): s.value for s in samples}

    yield writer, scrape
    writer.close()


def test_the_newest_value_of_each_metric_is_served(served):
    writer, scrape = served
    assert scrape()["ssljax_step",] == 3 and scrape()["ssljax_total_steps",] == 10
    writer.write(4, {"loss": 2.5, "tokens_per_second": 1e6, "mfu": 0.4})
    writer.write(5, {"loss": 2.25})
    now = scrape()
    assert (now["ssljax_loss",], now["ssljax_mfu",], now["ssljax_step",]) == (2.25, 0.4, 5)


def test_parts_of_a_name_become_labels(served):
    writer, scrape = served
    writer.write(4, {"grad_norm": 5.0, "grad_norm/blocks/03": 3.0, "grad_norm/head": 4.0,
                     "gpu_power_watts": 200.0, "gpu_power_watts/0": 150.0, "knn/top-1": 0.5,
                     "loss": math.nan, "z-loss": 1.0})
    now = scrape()
    assert now["ssljax_grad_norm",] == 5.0 and now["ssljax_z_loss",] == 1.0
    assert now["ssljax_block_grad_norm", ("block", "blocks/03")] == 3.0
    assert now["ssljax_block_grad_norm", ("block", "head")] == 4.0
    assert now["ssljax_gpu_power_watts",] == 200.0
    assert now["ssljax_device_gpu_power_watts", ("device", "0")] == 150.0
    assert now["ssljax_evaluation", ("evaluator", "knn"), ("metric", "top-1")] == 0.5
    assert math.isnan(now["ssljax_loss",])


def test_a_port_in_use_is_refused_and_free_again_after_close(tmp_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ConfigError, match=f"127.0.0.1:{port} .*port=0 for a free one"):
            prometheus.make(port=port, workdir=tmp_path, start=0, total_steps=1)
    for _ in range(2):
        prometheus.make(port=port, workdir=tmp_path, start=0, total_steps=1).close()
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5)


def queries(node) -> list[str]:
    """Return every PromQL expression and variable query in a dashboard."""
    if isinstance(node, list):
        return [q for x in node for q in queries(x)]
    if not isinstance(node, dict):
        return []
    own = [node[k] for k in ("expr", "query", "definition") if isinstance(node.get(k), str)]
    return own + [q for x in node.values() for q in queries(x)]


def test_the_dashboard_asks_only_for_what_the_exporter_has(served):
    writer, scrape = served
    writer.write(4, {**dict.fromkeys([*METRICS, *BY_DEVICE, "knn/accuracy"], 1.0),
                     **{f"{name}/x": 1.0 for name in (*BY_BLOCK, *BY_DEVICE, *BY_REASON)}})
    exported = {name for name, *_ in scrape()}
    assert exported == prometheus.known_names()
    asked = {m for q in queries(json.loads(DASHBOARD.read_text()))
             for m in re.findall(r"\bssljax_\w+", q)}
    assert asked <= exported, asked - exported
    # And it shows nearly all: what it leaves out is a choice, listed here.
    assert exported - asked == {"ssljax_seconds", "ssljax_weight", "ssljax_unreadable"}
