"""Which addresses the comparison page may connect to, and connections to no other.

A page that fetches what a URL names can be made to fetch what only this machine may see: a database
on loopback, a cloud's metadata with its credentials (server-side request forgery, OWASP A10:2021).
A name is resolved once, what it resolves to is checked, and the connection goes to the checked
address: a second lookup could answer otherwise (DNS rebinding). TLS still checks the name.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Iterable
from typing import Any

import httpcore

from ssljax.core.errors import RequestError

# Addresses that carry an IPv4 address, which is what they must be judged by (RFC 6052).
TRANSLATED = ipaddress.ip_network("64:ff9b::/96")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class ForbiddenAddressError(RequestError):
    """A name leads to an address that this process must not connect to."""


def check_address(text: str, *, allow_private: bool) -> None:
    """Refuse an address that only machines nearby can reach.

    Link-local ones are refused in any case: that is where clouds keep credentials.

    Args:
        text: an IPv4 or IPv6 address, with or without its zone.
        allow_private: whether loopback and private networks are meant to be reached.

    Raises:
        ForbiddenAddressError: it is not public, or not even private.
    """
    address = carried(ipaddress.ip_address(text.partition("%")[0]))
    if address.is_link_local or address.is_multicast:
        raise ForbiddenAddressError(f"{text} is a link-local or multicast address, where clouds "
                                    "keep their credentials: never connected to.", status=403)
    if not address.is_global and not allow_private:
        raise ForbiddenAddressError(f"{text} is not a public address; if it is meant, start with "
                                    "--allow-private.", status=403)


def carried(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address carries, if it does."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in TRANSLATED:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


class CheckedBackend(httpcore.AsyncNetworkBackend):
    """Connections of httpcore to checked addresses only."""

    def __init__(self, *, allow_private: bool):
        """Take whether private addresses are meant."""
        self.allow_private = allow_private
        self.backend = httpcore.AnyIOBackend()

    async def connect_tcp(self, host: str, port: int, timeout: float | None = None,
                          local_address: str | None = None,
                          socket_options: Iterable[Any] | None = None
                          ) -> httpcore.AsyncNetworkStream:
        """Connect to the first address of `host` that answers, once all of them are allowed.

        Raises:
            ForbiddenAddressError: one is not.
            httpcore.ConnectError: the name is unknown, or none answers.
        """
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port,
                                                                 type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as err:
            raise httpcore.ConnectError(f"{host} is not known ({err})") from err
        addresses = list(dict.fromkeys(info[4][0] for info in found))
        for address in addresses:
            check_address(address, allow_private=self.allow_private)
        for address in addresses[:-1]:
            try:
                return await self.backend.connect_tcp(address, port, timeout, local_address,
                                                      socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return await self.backend.connect_tcp(addresses[-1], port, timeout, local_address,
                                              socket_options)

    async def connect_unix_socket(self, path: str, timeout: float | None = None,
                                  socket_options: Iterable[Any] | None = None
                                  ) -> httpcore.AsyncNetworkStream:
        """Refuse: a socket in the file system is no address.

        Raises:
            ForbiddenAddressError: always.
        """
        raise ForbiddenAddressError(f"{path} is a socket of this machine.", status=403)

    async def sleep(self, seconds: float) -> None:
        """Wait between attempts."""
        await self.backend.sleep(seconds)
