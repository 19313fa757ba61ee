"""The verb's own part: one clear message and a failing exit for what cannot be served."""

import contextlib

import pytest

from ssljax.cli.main import main
from ssljax.serve.server import bind, listen


def test_port_in_use_is_one_line_and_a_failing_exit(capsys, tmp_path):
    with contextlib.closing(bind("127.0.0.1", 0)) as sock:
        listen(sock)
        port = sock.getsockname()[1]
        assert main(["serve", str(tmp_path), "--port", str(port)]) == 1
    out = capsys.readouterr()
    assert out.out == "" and out.err.count("\n") == 1
    assert f"Port {port} on 127.0.0.1 is in use" in out.err and "--port" in out.err


def test_public_address_without_a_key_is_refused(capsys, tmp_path, monkeypatch):
    monkeypatch.delenv("SSLJAX_API_KEY", raising=False)
    assert main(["serve", str(tmp_path), "--host", "0.0.0.0"]) == 1
    assert "SSLJAX_API_KEY" in capsys.readouterr().err


@pytest.mark.parametrize("arguments, environment", [
    (["--api-key", "k"], {}), ([], {"SSLJAX_API_KEY": "k"})])
def test_key_comes_from_the_argument_or_the_environment(monkeypatch, tmp_path, arguments,
                                                        environment):
    from ssljax.runs import serve as module
    seen = {}
    monkeypatch.delenv("SSLJAX_API_KEY", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(module, "serve", lambda artefact, **options: seen.update(options))
    assert main(["serve", str(tmp_path), *arguments]) == 0
    assert seen["api_key"] == "k" and seen["host"] == "127.0.0.1"


@pytest.mark.parametrize("verb", [["serve"], ["generate", "--prompt", "a"]])
def test_folder_without_artefact_is_one_line(capsys, tmp_path, verb):
    port = ["--port", "0"] if verb == ["serve"] else []
    assert main([*verb[:1], str(tmp_path), *verb[1:], *port]) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "is not an artefact" in err and "ssljax export" in err
