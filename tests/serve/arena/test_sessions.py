"""Who may use the page: cookies for checked keys, and nobody else's pages."""

import asyncio

import pytest
from starlette.requests import Request

from ssljax.core.errors import RequestError
from ssljax.serve.arena import sessions
from ssljax.serve.arena.sessions import COOKIE, check_origin, cookie, open_sessions
from ssljax.serve.caller import Caller


def request(**headers):
    pairs = [(k.replace("_", "-").encode(), v.encode()) for k, v in headers.items()]
    return Request({"type": "http", "headers": pairs, "method": "GET", "path": "/"})


@pytest.fixture
def good():
    return {"Bearer k"}


@pytest.fixture
def opened(good):
    async def check(authorization):
        return Caller() if authorization in good else None

    return open_sessions(check)


def who(opened, **headers):
    return asyncio.run(opened.who(request(**headers)))


def test_a_session_stands_for_its_key_until_it_ends(opened):
    assert who(opened) is None and who(opened, authorization="Bearer x") is None
    assert who(opened, authorization="Bearer k") == "Bearer k"
    token = opened.begin("Bearer k")
    carried = {"cookie": f"a=b; {COOKIE}={token}"}
    assert who(opened, **carried) == "Bearer k"
    opened.end(request(**carried))
    assert who(opened, **carried) is None


def test_a_withdrawn_key_ends_its_sessions(opened, good):
    token = opened.begin("Bearer k")
    good.clear()
    assert who(opened, cookie=f"{COOKIE}={token}") is None


def test_sessions_end_after_their_time_and_are_bounded(opened, monkeypatch):
    token = opened.begin("Bearer k")
    now = sessions.time.monotonic()
    monkeypatch.setattr(sessions.time, "monotonic", lambda: now + sessions.SECONDS + 1)
    assert who(opened, cookie=f"{COOKIE}={token}") is None
    monkeypatch.undo()
    monkeypatch.setattr(sessions, "MOST", 2)
    first, *_ = [opened.begin("Bearer k") for _ in range(3)]
    assert who(opened, cookie=f"{COOKIE}={first}") is None


@pytest.mark.parametrize("bad", ["", "x", f"{COOKIE}=", f"{COOKIE}=\xe9", f"{COOKIE}=a;;=;b"])
def test_a_cookie_that_is_none_of_ours_is_nobody(opened, bad):
    assert who(opened, cookie=bad) is None


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites():
    assert "HttpOnly; SameSite=Strict" in cookie("t", secure=False)
    assert "Secure" in cookie("t", secure=True) and "Max-Age=0" in cookie("", secure=True)


@pytest.mark.parametrize("headers", [
    {"sec_fetch_site": "same-origin"}, {"sec_fetch_site": "none"}, {},
    {"origin": "http://localhost:8000"}])
def test_the_page_itself_may_ask(headers):
    check_origin(request(host="localhost:8000", **headers), keyless=True)


@pytest.mark.parametrize("headers", [
    {"sec_fetch_site": "cross-site"}, {"sec_fetch_site": "same-site"}, {"origin": "null"},
    {"origin": "http://evil.example"},
    {"origin": "http://localhost:8000", "sec_fetch_site": "cross-site"}])
@pytest.mark.parametrize("keyless", [True, False])
def test_pages_of_other_sites_may_not(headers, keyless):
    with pytest.raises(RequestError, match="another site"):
        check_origin(request(host="localhost:8000", **headers), keyless=keyless)


@pytest.mark.parametrize("host", ["evil.example:8000", "10.0.0.1", "localhost.evil.example"])
def test_a_server_without_keys_answers_to_no_other_name(host):
    with pytest.raises(RequestError, match="own names only"):
        check_origin(request(host=host), keyless=True)
    check_origin(request(host=host), keyless=False)


@pytest.mark.parametrize("host", ["127.0.0.1:1", "[::1]:8000", "localhost"])
def test_this_machines_own_names_are_loopback(host):
    check_origin(request(host=host), keyless=True)
