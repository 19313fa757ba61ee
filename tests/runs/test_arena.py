"""The comparison page put together: what is refused before it opens, and one that is open."""

import asyncio
import contextlib
import http.client
import json
import queue
import threading

import pytest

from ssljax.cli.main import main
from ssljax.core.errors import ServeError
from ssljax.runs import arena
from ssljax.runs.arena import check_of, compare, page_over, read_endpoints
from ssljax.runs.arena_options import ArenaOptions
from ssljax.serve.caller import Caller
from ssljax.serve.keys import Key, digest, fixed, keys_of, new_key, no_keys

KEYS = keys_of(fixed([Key("one", "one", digest(b"k"), 0)]))


def test_data_needs_keys(tmp_path):
    with (pytest.raises(ServeError, match="SSLJAX_API_KEY"),
          page_over(None, ArenaOptions(data=[tmp_path]), no_keys())):
        pass


@pytest.mark.parametrize(("options", "said"), [
    ({"endpoints": ["http://a.example"]}, "expected NAME=URL"),
    ({"endpoints": ["a=ftp://a.example"]}, "http"), ({"endpoints": ["a="]}, "http"),
    ({"endpoints": ["a b=http://a.example"]}, "expected NAME=URL"),
    ({"endpoints": ["a=http://u:p@a.example"]}, "--endpoint-key a=VARIABLE"),
    ({"endpoints": ["a=http://x.example"] * 2}, "twice"),
    ({"endpoint_keys": ["b=HOME"]}, "no endpoint has that name"),
    ({"endpoints": ["a=http://x.example"], "endpoint_keys": ["a=NO_SUCH_ONE"]}, "NO_SUCH_ONE")])
def test_endpoints_that_cannot_be_are_named(options, said):
    with pytest.raises(ServeError, match=said):
        read_endpoints(ArenaOptions(**options))


def test_an_endpoint_has_its_own_key_and_never_the_callers(monkeypatch):
    from ssljax.serve.arena.contestants import headers_for
    monkeypatch.setenv("THEIRS", "secret")
    mine, theirs = read_endpoints(ArenaOptions(
        endpoints=["a=http://a.example", "b=http://b.example/v1#big"], endpoint_keys=["b=THEIRS"]))
    assert "Authorization" not in headers_for(mine, "Bearer caller")
    assert headers_for(theirs, "Bearer caller")["Authorization"] == "Bearer secret"
    assert theirs.model == "big"


def test_the_page_asks_who_has_a_key_and_spends_none_of_its_limits():
    key, secret = new_key("k", requests_per_minute=1, models=("one",))
    keys = keys_of(fixed([key]))
    check = check_of(keys)
    for _ in range(3):
        caller = asyncio.run(check(f"Bearer {secret}"))
        assert (caller.id, caller.models) == (key.id, frozenset(("one",)))
    assert keys.enter(f"Bearer {secret}".encode()) == caller
    assert asyncio.run(check("Bearer x")) is None and asyncio.run(check("")) is None
    assert asyncio.run(check_of(no_keys())("")) == Caller()


def test_the_verb_says_what_is_missing(capsys, monkeypatch):
    monkeypatch.delenv("SSLJAX_API_KEY", raising=False)
    assert main(["arena", "--port", "0"]) == 1
    assert "--endpoint NAME=URL" in capsys.readouterr().err
    assert main(["arena", "--endpoint", "a=http://a.example", "--host", "0.0.0.0"]) == 1
    assert "SSLJAX_API_KEY" in capsys.readouterr().err


def test_the_page_stands_alone_and_refuses_private_endpoints(tmp_path):
    urls, options = queue.SimpleQueue(), ArenaOptions(
        tmp_path, endpoints=["here=http://127.0.0.1:9/v1#m"])
    servers = []

    def keep(app, **more):
        servers.append(make_server(app, **more))
        return servers[0]

    make_server = arena.make_server
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arena, "make_server", keep)
        thread = threading.Thread(target=lambda: compare(options, KEYS, port=0, announce=urls.put))
        thread.start()
        address = urls.get(timeout=60).removeprefix("http://")
    try:
        with contextlib.closing(http.client.HTTPConnection(address, timeout=30)) as connection:
            def ask(method, path, body=None):
                connection.request(method, path, body, {"Authorization": "Bearer k"})
                answer = connection.getresponse()
                return answer.status, answer.read().decode()

            assert ask("GET", "/")[0] == 200 and ask("GET", "/v1/models")[0] == 404
            status, text = ask("POST", "/arena/rounds", json.dumps(
                {"prompt": "p", "models": ["here"]}))
            assert status == 200 and "is not a public address" in text
    finally:
        servers[0].should_exit = True
        thread.join(30)
