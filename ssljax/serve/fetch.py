"""Fetch what a URL in an input names, where the server was told to.

Public addresses only, checked at the connection itself (arena/addresses.py says why); redirects are
not followed, since they would lead elsewhere than was asked.
"""

import asyncio

import httpcore

from ssljax.core.errors import RequestError
from ssljax.serve.arena.addresses import CheckedBackend, ForbiddenAddressError
from ssljax.serve.checks import show
from ssljax.serve.inputs import MEDIA_BODY, Fetch

SECONDS = 10.0           # for all of a fetch
CONNECTIONS = 16


def make_fetch(*, most: int = MEDIA_BODY, seconds: float = SECONDS,
               allow_private: bool = False) -> Fetch:
    """Return (URL) -> its bytes.

    Args:
        most: bytes that are read.
        seconds: that it may take.
        allow_private: whether addresses of loopback and private networks are meant.
    """
    pool = httpcore.AsyncConnectionPool(
        max_connections=CONNECTIONS, network_backend=CheckedBackend(allow_private=allow_private))

    async def read(url: str) -> bytes:
        data = bytearray()
        async with pool.stream("GET", url, headers={"User-Agent": "ssljax"}) as answer:
            if answer.status != 200:
                raise unfetched(url, f"it answers {answer.status}; redirects are not followed")
            async for part in answer.aiter_stream():
                data += part
                if len(data) > most:
                    raise unfetched(url, f"it has more than {most} bytes")
        return bytes(data)

    async def fetch(url: str) -> bytes:
        try:
            async with asyncio.timeout(seconds):
                return await read(url)
        except ForbiddenAddressError as err:
            raise unfetched(url, "it does not lead to a public address") from err
        except TimeoutError as err:
            raise unfetched(url, f"it takes more than {seconds:g} seconds") from err
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException,
                httpcore.UnsupportedProtocol, ValueError) as err:
            raise unfetched(url, str(err) or type(err).__name__) from err

    return fetch


def unfetched(url: str, why: str) -> RequestError:
    """Return the error of a URL that gives nothing."""
    return RequestError(f"input names the URL {show(url)}, which cannot be fetched: {why}.",
                        param="input", code="url_not_fetched")
