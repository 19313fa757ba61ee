"""Who may use the page: a key typed once becomes a cookie that scripts cannot read.

A browser sends no `Authorization` when it opens a page, so the page's own routes also take a
session: a random token that stands for a checked key, kept in this process for a day. The key is
checked anew with every request, so one that was withdrawn ends its sessions. Requests of other
sites' pages are refused: by the cookie's SameSite, by Sec-Fetch-Site, and by Origin where a browser
sends no other; on a server without keys, by the Host too, which a page that rebinds its own name to
127.0.0.1 cannot forge.
"""

import ipaddress
import secrets
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from http.cookies import CookieError, SimpleCookie
from typing import NamedTuple
from urllib.parse import urlsplit

from starlette.requests import Request

from ssljax.core.errors import RequestError
from ssljax.serve.caller import Caller

COOKIE = "ssljax_session"
SECONDS = 24 * 3600
MOST = 1000                      # sessions; the oldest ends

# (Authorization header, "" for none) -> who asks; None for nobody who may
Check = Callable[[str], Awaitable[Caller | None]]


class Sessions(NamedTuple):
    """Sessions of one server.

    who:   (request) -> the caller's Authorization, "" where no key is needed; None: not allowed
    begin: (authorization) -> the cookie's value; the key has been checked
    end:   (request) -> None
    """

    who: Callable[[Request], Awaitable[str | None]]
    begin: Callable[[str], str]
    end: Callable[[Request], None]


def open_sessions(check: Check) -> Sessions:
    """Return the sessions of a server whose keys `check` knows."""
    known: OrderedDict[str, tuple[str, float]] = OrderedDict()      # token -> (key, until)

    async def who(request: Request) -> str | None:
        given = request.headers.get("authorization", "")
        if not given:
            given, until = known.get(token_of(request), ("", 0.0))
            given = given if time.monotonic() < until else ""
        return None if await check(given) is None else given

    def begin(authorization: str) -> str:
        token = secrets.token_urlsafe(32)
        known[token] = (authorization, time.monotonic() + SECONDS)
        while len(known) > MOST:
            known.popitem(last=False)
        return token

    return Sessions(who, begin, lambda request: known.pop(token_of(request), None) and None)


def token_of(request: Request) -> str:
    """Return the session's token that a request carries, "" for none."""
    try:
        found = SimpleCookie(request.headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return found.value if found else ""


def cookie(token: str, *, secure: bool) -> str:
    """Return the Set-Cookie header of a session; an empty token ends it."""
    life = f"Max-Age={SECONDS}" if token else "Max-Age=0"
    return (f"{COOKIE}={token}; {life}; Path=/; HttpOnly; SameSite=Strict"
            f"{'; Secure' if secure else ''}")


def check_origin(request: Request, *, keyless: bool) -> None:
    """Refuse a request that another site's page has made.

    Args:
        request: any but that for the page itself, which people follow links to.
        keyless: whether the server asks for no key, and so must not answer to any name but its own.

    Raises:
        RequestError: it comes from elsewhere (403).
    """
    host = request.headers.get("host", "")
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    foreign = (site not in ("same-origin", "none") if site is not None
               else origin is not None and urlsplit(origin).netloc != host)
    if foreign:
        raise RequestError("This request comes from another site's page; open the page of this "
                           "server itself.", status=403)
    if keyless and not is_loopback(urlsplit(f"//{host}").hostname or ""):
        raise RequestError(f"This server has no key and answers to this machine's own names only, "
                           f"not to {host[:80]!r}. Open it as http://127.0.0.1:PORT/, or start it "
                           "with a key.", status=403)


def is_loopback(host: str) -> bool:
    """Say whether a host name surely means this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
