"""A server measured from outside, through HTTP, in a process of its own."""

from pathlib import Path

import pytest

from ssljax.core.errors import ArtefactError, ServeError
from ssljax.runs.generate import generate
from ssljax.runs.measure_server import measure
from ssljax.runs.named_models import Named, read_models
from ssljax.runs.serve import serve
from ssljax.serve.completions import RequestError


def test_measure_returns_figures_and_the_texts_that_were_generated(exported):
    prompts = ["Sentence 1", "things", "text"]
    out = measure(exported.artefact, prompts, max_tokens=8, seed=4, slots=2)
    assert [sample["prompt"] for sample in out["samples"]] == prompts
    assert 0 < out["first_token_ms_p50"] < 60_000
    assert out["tokens_per_second"] > 0 and out["tokens_per_second_together"] > 0
    alone = "".join(generate(exported.artefact, "things", max_tokens=8, seed=4))
    assert alone == "things" + out["samples"][1]["text"]       # one slot in process, two by HTTP


def test_server_that_does_not_start_says_why(tmp_path):
    with pytest.raises(ServeError, match="did not start.*is not an artefact"):
        measure(tmp_path / "nothing", ["a"])


def test_generate_checks_its_options(exported):
    with pytest.raises(RequestError, match="temperature is -1"):
        list(generate(exported.artefact, "a", temperature=-1.0))
    with pytest.raises(RequestError, match="the model reads at most 64"):
        list(generate(exported.artefact, "a", max_tokens=64))


def test_serve_checks_its_options_before_it_loads(tmp_path):
    with pytest.raises(ServeError, match="slots 0"):
        serve(tmp_path, slots=0)
    with pytest.raises(ServeError, match="there is no API key"):
        serve(tmp_path, host="0.0.0.0")
    with pytest.raises(ArtefactError, match="is not an artefact"):
        serve(tmp_path, port=0)


def test_models_of_a_command_line_and_of_a_file(tmp_path):
    file = tmp_path / "models.toml"
    file.write_text('[[model]]\nartefact = "c"\nname = "code"\nversion = "2"\nweight = 0.1\n')
    assert read_models(["a/b", "code=x", "code@3=y=z", "./n=m"], file) == [
        Named(Path("a/b")), Named(Path("x"), "code"), Named(Path("y=z"), "code", "3"),
        Named(Path("./n=m")), Named(Path("c"), "code", "2", 0.1)]
    for text in ("", "[[model]]\nname = 'a'", "[[model]]\nartefact = 'a'\nother = 1", "="):
        file.write_text(text)
        with pytest.raises(ServeError, match="names no models"):
            read_models([], file)
    with pytest.raises(ServeError, match="No model is named"):
        read_models([], None)
