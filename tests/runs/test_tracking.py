"""Writers of the config join those that every run has, are checked first, and close together."""

import urllib.request

import pytest

from ssljax.core.errors import ConfigError
from ssljax.runs.config import check_run, config_differences, load_config, to_plain
from ssljax.runs.tracking import make_writers
from ssljax.track import prometheus


def config(**track) -> dict:
    return {**to_plain(load_config("experiments/gpt/quickstart.py:smoke")), "track": track}


@pytest.mark.parametrize("spec, message", [
    ({"name": "promtheus"}, 'did you mean "prometheus"'),
    ({"name": "prometheus", "prot": 1}, 'no option "prot"; did you mean "port"'),
    ({"name": "prometheus", "port": "9464"}, "expected int"),
    ({"name": "prometheus", "workdir": "x"}, "set by the run itself"),
    ({"name": "jsonl"}, "every run has; leave it out"),
    ({"name": "names"}, "no `make`"),
])
def test_a_wrong_writer_is_refused_before_anything_starts(spec, message):
    with pytest.raises(ConfigError, match=message):
        check_run(config(label=spec))


def test_writers_may_change_when_a_run_is_continued():
    check_run(config(scrape={"name": "prometheus"}, lab={"name": "mlflow"}))
    assert config_differences(config(), config(scrape={"name": "prometheus"})) == []


def test_every_writer_gets_every_row(tmp_path, capsys):
    run = config(scrape={"name": "prometheus", "port": 0})
    writers = make_writers(run, tmp_path, start=0, unit="tokens")
    for writer in writers:
        writer.write(1, {"loss": 2.5})
    url = capsys.readouterr().out.split()[3]
    assert b"ssljax_loss" in urllib.request.urlopen(url, timeout=10).read()
    for writer in writers:
        writer.close()
    assert '"loss": 2.5' in (tmp_path / "metrics.jsonl").read_text()
    assert list((tmp_path / "tensorboard").iterdir())


def test_when_one_writer_cannot_begin_the_others_are_closed(tmp_path, capsys):
    first = prometheus.make(port=0, workdir=tmp_path, start=0, total_steps=1)
    port = int(capsys.readouterr().out.rpartition(":")[2].partition("/")[0])
    first.close()
    spec = {"name": "prometheus", "port": port}
    with pytest.raises(ConfigError, match=f"127.0.0.1:{port}"):
        make_writers(config(a=spec, b=spec), tmp_path, start=0, unit="tokens")
    assert not (tmp_path / "metrics.jsonl").exists()
    prometheus.make(port=port, workdir=tmp_path, start=0, total_steps=1).close()
