"""The whole journey on a small corpus, through the verbs as a user types them."""

import contextlib
import http.client
import json
import re
import shutil
import signal
import subprocess

import pytest

from tests.journey.conftest import SMOKE, command, environment, ssljax

PROMISED = {
    "documents": {"read", "kept", "dropped"},
    "train": {"steps", "tokens", "final_loss", "tokens_per_second"},
    "eval": {"bits_per_byte"},
    "baseline": {"xz_bits_per_byte", "unigram_bits_per_byte", "fivegram_bits_per_byte"},
    "export": {"bytes"},
    "serve": {"first_token_ms_p50", "tokens_per_second"},
    "seconds": {"curate", "pretrain", "evaluate", "export", "serve"},
}


@pytest.fixture(scope="module")
def journey(corpus, tmp_path_factory):
    """Return the workdir of a finished quickstart."""
    workdir = tmp_path_factory.mktemp("journey") / "work"
    ssljax("quickstart", "--input", corpus, "--workdir", workdir, "--minutes", 0.1,
           "--config", SMOKE)
    return workdir


def test_the_report_has_every_figure(journey):
    report = json.loads((journey / "report.json").read_text())
    for group, names in PROMISED.items():
        assert names <= report[group].keys(), group
        assert all(report[group][n] is not None for n in names), report[group]
    documents = report["documents"]
    assert documents["read"] == documents["kept"] + sum(documents["dropped"].values())
    assert report["eval"]["bits_per_byte"] > 0
    page = (journey / "report.html").read_text()
    assert "prefers-color-scheme" in page
    assert not re.search(r"""(src|href)=["']https?://""", page.replace("https://www.w3.org", ""))


def test_running_it_again_does_nothing_twice(journey, corpus):
    before = {p: p.stat().st_mtime_ns for p in journey.rglob("*") if p.is_file()}
    said = ssljax("quickstart", "--input", corpus, "--workdir", journey, "--minutes", 0.1,
                  "--config", SMOKE).stdout
    assert said.count("already done") == 7
    assert before == {p: p.stat().st_mtime_ns for p in journey.rglob("*") if p.is_file()}


def test_other_input_needs_another_workdir(journey, tmp_path):
    (tmp_path / "a.txt").write_text("words " * 200)
    done = ssljax("quickstart", "--input", tmp_path, "--workdir", journey, expect=1)
    assert "Choose another --workdir" in done.stderr


def test_generate_in_the_shell(journey):
    out = ssljax("generate", journey / "artefact", "--prompt", "def ", "--max-tokens", 5,
                 "--temperature", 0).stdout
    assert out.startswith("def ")
    again = ssljax("generate", journey / "artefact", "--prompt", "def ", "--max-tokens", 5,
                   "--temperature", 0).stdout
    assert again == out


@contextlib.contextmanager
def server(artefact):
    """Run `ssljax serve` on a free port; yield its port; stop it with SIGTERM."""
    with subprocess.Popen(command("serve", artefact, "--port", 0), env=environment(),
                          stdout=subprocess.PIPE, text=True) as child:
        try:
            line = child.stdout.readline()
            yield int(re.search(r":(\d+)", line).group(1))
        finally:
            child.send_signal(signal.SIGTERM)
        assert child.wait(60) == 0


def ask(port: int, method: str, path: str, body: str | None = None) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    with contextlib.closing(connection):
        connection.request(method, path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def test_serve_answers_refuses_and_goes_on(journey):
    with server(journey / "artefact") as port:
        assert ask(port, "GET", "/healthz")[0] == 200
        good = json.dumps({"prompt": "import os", "max_tokens": 4, "temperature": 0})
        status, first = ask(port, "POST", "/v1/completions", good)
        assert status == 200
        assert json.loads(first)["usage"]["completion_tokens"] <= 4
        for bad in ("{not json", json.dumps({"prompt": "x", "max_tokens": 10**9}),
                    json.dumps({"prompt": "word " * 5000}), json.dumps({"prompt": {"text": "x"}})):
            status, said = ask(port, "POST", "/v1/completions", bad)
            assert 400 <= status < 500, said
            assert json.loads(said)["error"]["message"]
        status, stream = ask(port, "POST", "/v1/completions",
                             json.dumps({**json.loads(good), "stream": True}))
        assert status == 200
        assert stream.rstrip().endswith("data: [DONE]")
        events = [json.loads(line[6:]) for line in stream.splitlines()
                  if line.startswith("data: {")]
        text = "".join(c["text"] for e in events for c in e["choices"])
        assert text == json.loads(first)["choices"][0]["text"]
        assert "tokens" in ask(port, "GET", "/metrics")[1]
        done = ssljax("serve", journey / "artefact", "--port", port, expect=1)
        assert str(port) in done.stderr


def test_an_artefact_runs_where_the_training_code_is_absent(journey):
    code = ("import sys\n"
            "for name in ('flax', 'optax', 'orbax', 'grain', 'ssljax.models', 'ssljax.nn',\n"
            "             'ssljax.objectives', 'ssljax.train', 'ssljax.data'):\n"
            "    sys.modules[name] = None\n"
            "from ssljax.runs.generate import generate\n"
            f"print(''.join(generate({str(journey / 'artefact')!r}, 'import ', max_tokens=3,\n"
            "                       temperature=0.0, top_p=1.0, seed=0)))")
    done = subprocess.run([command()[0], "-c", code], capture_output=True, text=True,
                          env=environment())
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("import ")


def test_damage_is_named(journey, tmp_path):
    artefact = tmp_path / "artefact"
    shutil.copytree(journey / "artefact", artefact)
    weights = next(artefact.glob("*.safetensors"))
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    done = ssljax("generate", artefact, "--prompt", "x", expect=1)
    assert weights.name in done.stderr
    dataset = tmp_path / "data"
    shutil.copytree(journey / "data", dataset)
    (dataset / "train" / "00000.tokens").write_bytes(b"")
    done = ssljax("pretrain", "--config", SMOKE, "--workdir", tmp_path / "run",
                  f"--config.source.path={dataset}", "--config.model.vocab_size=4096", expect=1)
    assert "train/00000.tokens is empty" in done.stderr
    assert not (tmp_path / "run").exists()


def test_bad_input_folders_are_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    for folder in ("empty", "absent"):
        done = ssljax("curate", "--config", "data_pipelines/text.py", "--input",
                      tmp_path / folder, "--output", tmp_path / "out", expect=1)
        assert folder in done.stderr
    (tmp_path / "binary").mkdir()
    (tmp_path / "binary" / "a.txt").write_bytes(bytes(range(256)) * 20)
    done = ssljax("curate", "--config", "data_pipelines/text.py", "--input", tmp_path / "binary",
                  "--output", tmp_path / "out", expect=1)
    assert "not_text" in done.stderr
    assert not (tmp_path / "out").exists()


def test_impossible_devices_and_batches_are_refused_before_compiling(dataset, tmp_path):
    base = ["pretrain", "--config", SMOKE, "--workdir", tmp_path / "run",
            f"--config.source.path={dataset}"]
    done = ssljax(*base, "--config.mesh.data=3", expect=2)
    assert "needs 3 devices; 1 are visible" in done.stderr
    done = ssljax(*base, "--config.batch_size=6", expect=2, devices=4)
    assert "batch_size 6 is not a multiple of 4" in done.stderr
    assert "use 4 or 8" in done.stderr
