"""API keys: who asks, and how much of what he may have.

A file holds them, one object a key, with the SHA-256 of each secret. A slow hash, as passwords
need it, would protect nothing here: a secret is 256 random bits, which no dictionary has, and it
would cost every request a tenth of a second. For the same reason a dictionary looks hashes up:
its timing tells of a hash of a guess, and no guess is near.

Limits are buckets that fill continuously and hold a minute's worth. A request pays its tokens when
it has ended, as nobody knows them before: a bucket may fall below zero, and is then waited for.
"""

import hashlib
import json
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from absl import logging

from ssljax.core.errors import RequestError, ServeError, nearest
from ssljax.core.files import write_json
from ssljax.serve.caller import Caller

PREFIX = "sk-ssljax-"
LOOK = 1.0                         # seconds between two looks at whether the file has changed
FULL = float("inf")


class Key(NamedTuple):
    """One key, as the file has it.

    id:                  in logs and lists; no secret
    name:                whose it is
    sha256:              of the secret, hex
    created:             seconds since 1970
    requests_per_minute: 0 for any number
    tokens_per_minute:   read and generated, 0 for any number
    concurrency:         calls open at once, 0 for any number
    models:              names that it may use; none for all
    admin:               whether it may use /admin
    """

    id: str
    name: str
    sha256: str
    created: int
    requests_per_minute: float = 0
    tokens_per_minute: float = 0
    concurrency: int = 0
    models: tuple[str, ...] = ()
    admin: bool = False


class Meter(NamedTuple):
    """What a key has left: requests and tokens as of the moment `at`, and calls that are open."""

    at: float
    requests: float
    tokens: float
    open: int = 0


class Keys(NamedTuple):
    """The keys of a server.

    needed: whether anybody may ask without one
    enter:  (header Authorization) -> who asks. RequestError: unknown (401), or over a limit (429)
    leave:  (caller, tokens) -> None; every caller who has entered leaves once
    knows:  (id of a key) -> whether it is good still; "" stands for a time without keys
    who:    (header Authorization) -> who would ask, None for nobody it knows; nothing is counted
    """

    needed: bool
    enter: Callable[[bytes], Caller]
    leave: Callable[[Caller, int], None]
    knows: Callable[[str], bool]
    who: Callable[[bytes], Caller | None]


def new_key(name: str, **limits: Any) -> tuple[Key, str]:
    """Return a key and its secret, which is nowhere else and cannot be had again."""
    secret = PREFIX + secrets.token_urlsafe(32)
    return Key(f"key-{secrets.token_hex(4)}", name, digest(secret.encode()), int(time.time()),
               **limits), secret


def digest(secret: bytes) -> str:
    """Return what is kept of a secret."""
    return hashlib.sha256(secret).hexdigest()


def read_keys(path: Path) -> tuple[Key, ...]:
    """Return the keys of a file.

    Raises:
        ServeError: it cannot be read, or holds something else.
    """
    try:
        rows = json.loads(path.read_text())["keys"]
        return tuple(Key(**row | {"models": tuple(row.get("models", ()))}) for row in rows)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as err:
        raise ServeError(f"{path} is no file of keys ({err!r}). `ssljax keys add {path} --name "
                         "NAME` makes one.") from err


def write_keys(path: Path, keys: Sequence[Key]) -> None:
    """Write the keys of a file, for its owner's eyes, whole or not at all."""
    write_json(path, {"keys": [key._asdict() for key in keys]})
    path.chmod(0o600)


def revoked(keys: Sequence[Key], name: str) -> tuple[Key, ...]:
    """Return the keys without the one of this id.

    Raises:
        ServeError: there is none.
    """
    if name not in (key.id for key in keys):
        raise ServeError(f"No key has the id {name}; {nearest(name, (key.id for key in keys))}")
    return tuple(key for key in keys if key.id != name)


def no_keys() -> Keys:
    """Return the keys of a server that asks for none; nobody is an administrator there."""
    return Keys(False, lambda header: Caller(), lambda caller, tokens: None,
                lambda identity: True, lambda header: Caller())


def keys_of(read: Callable[[], Mapping[str, Key]],
            clock: Callable[[], float] = time.monotonic) -> Keys:
    """Return the check of every request.

    Args:
        read: () -> the keys by the hash of their secret, as they are now.
        clock: seconds.
    """
    meters: dict[str, Meter] = {}

    def find(header: bytes) -> Key | None:
        return read().get(digest(header[7:])) if header[:7].lower() == b"bearer " else None

    def enter(header: bytes) -> Caller:
        key = find(header)
        if key is None:
            raise RequestError("This server needs an API key it knows: send the header "
                               "`Authorization: Bearer KEY`.", status=401, code="invalid_api_key")
        now = clock()
        meters[key.id] = admit(meters.get(key.id) or full(key, now), key, now)
        return caller_of(key)

    def leave(caller: Caller, tokens: int) -> None:
        meter = meters[caller.id]
        meters[caller.id] = meter._replace(open=meter.open - 1, tokens=meter.tokens - tokens)

    def knows(identity: str) -> bool:
        return not identity or any(key.id == identity for key in read().values())

    def who(header: bytes) -> Caller | None:
        key = find(header)
        return None if key is None else caller_of(key)

    return Keys(True, enter, leave, knows, who)


def caller_of(key: Key) -> Caller:
    """Return who asks with a key."""
    return Caller(key.id, key.admin, frozenset(key.models) or None)


def full(key: Key, now: float) -> Meter:
    """Return the meter of a key that has not been used."""
    return Meter(now, key.requests_per_minute or FULL, key.tokens_per_minute or FULL)


def admit(meter: Meter, key: Key, now: float) -> Meter:
    """Return the meter after one more call has begun.

    Raises:
        RequestError: a limit is reached (429), with the seconds until it is not.
    """
    requests, tokens = key.requests_per_minute, key.tokens_per_minute
    minutes = (now - meter.at) / 60
    have = min(requests, meter.requests + minutes * requests) if requests else FULL
    left = min(tokens, meter.tokens + minutes * tokens) if tokens else FULL
    if key.concurrency and meter.open >= key.concurrency:
        raise over(key, f"{key.concurrency} open at once", 1)
    if have < 1:
        raise over(key, f"{requests:g} requests a minute", (1 - have) * 60 / requests)
    if left <= 0:
        raise over(key, f"{tokens:g} tokens a minute", (1 - left) * 60 / tokens)
    return Meter(now, have - 1, left, meter.open + 1)


def over(key: Key, limit: str, seconds: float) -> RequestError:
    """Return the error of a key that has had enough for now."""
    return RequestError(f"Key {key.id} may have {limit}; try again in {seconds:.0f} s.",
                        status=429, code="rate_limit_exceeded", retry_after=seconds)


def fixed(keys: Sequence[Key]) -> Callable[[], Mapping[str, Key]]:
    """Return the reader of keys that do not change."""
    by_hash = {key.sha256: key for key in keys}
    return lambda: by_hash


def from_file(path: Path, clock: Callable[[], float] = time.monotonic
              ) -> Callable[[], Mapping[str, Key]]:
    """Return the reader of a file that may change: new and revoked keys count within a second.

    Raises:
        ServeError: it is no file of keys. Once the server runs, a damaged file changes nothing.
    """
    def look() -> tuple[int, int]:
        state = path.stat()
        return state.st_mtime_ns, state.st_ino

    by_hash, seen, looked = fixed(read_keys(path))(), look(), clock()

    def read() -> Mapping[str, Key]:
        nonlocal by_hash, seen, looked
        if clock() - looked >= LOOK:
            looked = clock()
            try:
                if (state := look()) != seen:
                    by_hash, seen = fixed(read_keys(path))(), state
            except (OSError, ServeError) as err:
                logging.error("The keys stay as they were: %s", err)
        return by_hash

    return read
