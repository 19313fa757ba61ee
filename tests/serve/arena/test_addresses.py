"""Addresses that a server must not be made to connect to, however they are spelt."""

import asyncio
import socket

import httpcore
import pytest

from ssljax.serve.arena.addresses import CheckedBackend, ForbiddenAddressError, check_address
from ssljax.serve.arena.transports import http_transport

PUBLIC = ["8.8.8.8", "2606:4700:4700::1111", "64:ff9b::808:808"]
PRIVATE = ["127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "0.0.0.0", "100.64.0.1", "::1",
           "::", "fc00::1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:7f00:1::", "240.0.0.1",
           "::ffff:127.0.0.1", "192.0.2.1"]
NEVER = ["169.254.169.254", "fe80::1", "fe80::1%eth0", "::ffff:169.254.169.254", "224.0.0.1",
         "64:ff9b::a9fe:a9fe", "ff02::1", "2002:a9fe:a9fe::"]


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_allowed(address):
    check_address(address, allow_private=False)


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_are_allowed_only_when_meant(address):
    with pytest.raises(ForbiddenAddressError, match="--allow-private"):
        check_address(address, allow_private=False)
    check_address(address, allow_private=True)


@pytest.mark.parametrize("address", NEVER)
@pytest.mark.parametrize("allow_private", [False, True])
def test_link_local_addresses_are_never_allowed(address, allow_private):
    with pytest.raises(ForbiddenAddressError, match="credentials"):
        check_address(address, allow_private=allow_private)


@pytest.mark.parametrize("host", ["127.0.0.1", "2130706433", "0x7f.1", "localhost", "[::1]"])
def test_every_spelling_of_this_machine_is_refused(host):
    async def ask():
        async with http_transport(f"http://{host}:9/v1", allow_private=False)(
                "GET", "/v1/models", b"", {}):
            pass

    with pytest.raises(ForbiddenAddressError):
        asyncio.run(ask())


def test_a_name_is_resolved_once_and_the_checked_address_is_connected_to(monkeypatch):
    """A name that answers differently the second time (rebinding) gets no second time."""
    asked, connected = [], []

    async def once(self, host, port, **more):
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("8.8.8.8", port))]

    async def connect(self, host, *more):
        connected.append(host)
        raise httpcore.ConnectError("no network here")

    monkeypatch.setattr(asyncio.base_events.BaseEventLoop, "getaddrinfo", once)
    monkeypatch.setattr(httpcore.AnyIOBackend, "connect_tcp", connect)
    with pytest.raises(httpcore.ConnectError):
        asyncio.run(CheckedBackend(allow_private=False).connect_tcp("rebind.example", 80))
    assert asked == ["rebind.example"] and connected == ["8.8.8.8"]


def test_one_private_address_among_public_ones_refuses_the_name(monkeypatch):
    async def both(self, host, port, **more):
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (a, port))
                for a in ("8.8.8.8", "127.0.0.1")]

    monkeypatch.setattr(asyncio.base_events.BaseEventLoop, "getaddrinfo", both)
    with pytest.raises(ForbiddenAddressError):
        asyncio.run(CheckedBackend(allow_private=False).connect_tcp("two.example", 80))
