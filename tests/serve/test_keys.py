"""Keys: a file without secrets, limits on a virtual clock, changes while the server runs."""

import os

import pytest

from ssljax.cli.main import run_verb
from ssljax.core.errors import RequestError, ServeError
from ssljax.serve.caller import Caller
from ssljax.serve.keys import (
    Key,
    admit,
    digest,
    fixed,
    from_file,
    full,
    keys_of,
    new_key,
    no_keys,
    read_keys,
    revoked,
    write_keys,
)

NOW = 1000.0


def bearer(secret):
    return f"Bearer {secret}".encode()


def test_file_keeps_limits_and_no_secret(tmp_path):
    path = tmp_path / "keys.json"
    key, secret = new_key("alice", requests_per_minute=3, models=("a",), admin=True)
    write_keys(path, [key])
    assert read_keys(path) == (key,) and secret not in path.read_text()
    assert key.sha256 == digest(secret.encode()) and len(secret) > 40
    assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"keys": [{"id": 1}]}', '{"keys": 3}'])
def test_other_files_are_refused_by_name(tmp_path, text):
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(ServeError, match=r"other.json is no file of keys.*ssljax keys add"):
        read_keys(path)


def test_unknown_secrets_are_401_and_known_ones_say_who_asks():
    key, secret = new_key("alice", models=("a", "b"))
    keys = keys_of(fixed([key]))
    caller = keys.enter(bearer(secret))
    assert (caller.id, caller.admin, caller.models) == (key.id, False, {"a", "b"})
    for header in (b"", bearer(secret + "x"), secret.encode(), bearer(""), b"Basic " + b"x" * 50):
        with pytest.raises(RequestError, match="API key") as caught:
            keys.enter(header)
        assert caught.value.status == 401


def test_requests_fill_up_continuously_and_a_refusal_says_when():
    key = Key("k", "k", "", 0, requests_per_minute=6)
    meter = full(key, NOW)
    for _ in range(6):
        meter = admit(meter, key, NOW)
    with pytest.raises(RequestError, match="6 requests a minute") as caught:
        admit(meter, key, NOW + 4)
    assert caught.value.status == 429 and caught.value.retry_after == pytest.approx(6)
    assert admit(meter, key, NOW + 10).requests == pytest.approx(0)
    assert admit(meter, key, NOW + 10_000).requests == 5              # never more than a minute's


def test_tokens_are_paid_afterwards_and_debts_are_waited_for():
    clock = [NOW]
    key, secret = new_key("k", tokens_per_minute=60)
    keys = keys_of(fixed([key]), lambda: clock[0])
    keys.leave(keys.enter(bearer(secret)), 90)
    with pytest.raises(RequestError, match="60 tokens a minute") as caught:
        keys.enter(bearer(secret))
    assert caught.value.retry_after == pytest.approx(31)
    clock[0] += 31
    keys.enter(bearer(secret))


def test_a_key_is_known_without_counting_until_it_is_revoked():
    key, secret = new_key("k", requests_per_minute=1, models=("m",))
    found = [key]
    keys = keys_of(lambda: fixed(found)())
    for _ in range(2):
        assert keys.who(bearer(secret)) == Caller(key.id, False, frozenset(("m",)))
    assert keys.knows(key.id) and keys.knows("") and keys.who(b"Bearer x") is None
    found.clear()
    assert not keys.knows(key.id) and keys.who(bearer(secret)) is None
    assert no_keys().knows("anybody") and no_keys().who(b"") == Caller()


def test_calls_open_at_once_are_limited_and_come_back():
    key, secret = new_key("k", concurrency=2)
    keys = keys_of(fixed([key]))
    callers = [keys.enter(bearer(secret)) for _ in range(2)]
    with pytest.raises(RequestError, match="2 open at once"):
        keys.enter(bearer(secret))
    keys.leave(callers[0], 0)
    keys.enter(bearer(secret))


def test_running_server_sees_new_and_revoked_keys_and_survives_a_damaged_file(tmp_path):
    path, clock = tmp_path / "keys.json", [NOW]
    (first, secret), (second, other) = new_key("a"), new_key("b")
    write_keys(path, [first])
    keys = keys_of(from_file(path, lambda: clock[0]))
    keys.enter(bearer(secret))
    write_keys(path, [first, second])
    clock[0] += 2
    keys.enter(bearer(other))
    write_keys(path, revoked([first, second], first.id))
    clock[0] += 2
    with pytest.raises(RequestError):
        keys.enter(bearer(secret))
    path.write_text("{")
    os.utime(path, (1, 1))
    clock[0] += 2
    keys.enter(bearer(other))
    with pytest.raises(ServeError, match="did you mean"):
        revoked([first, second], second.id[:-1])


def test_verb_adds_lists_and_revokes(tmp_path, capsys):
    path = str(tmp_path / "keys.json")
    run_verb("keys", ["add", path, "--name", "alice", "--requests-per-minute", "3", "--model", "a"])
    secret, line = capsys.readouterr().out.splitlines()
    [key] = read_keys(tmp_path / "keys.json")
    assert (key.name, key.requests_per_minute, key.models) == ("alice", 3, ("a",))
    assert key.id in line and keys_of(fixed([key])).enter(bearer(secret)).id == key.id
    run_verb("keys", ["add", path, "--name", "ops", "--admin"])
    run_verb("keys", ["list", path])
    assert "alice" in (shown := capsys.readouterr().out) and secret not in shown
    run_verb("keys", ["revoke", path, key.id])
    assert [one.name for one in read_keys(tmp_path / "keys.json")] == ["ops"]
