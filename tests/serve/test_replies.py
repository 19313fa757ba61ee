"""What the engine could not finish is told in the shape of the route that was asked."""

import asyncio
from types import SimpleNamespace

import pytest

from ssljax.core.errors import RequestError
from ssljax.serve import replies
from ssljax.serve.jobs import Piece


@pytest.mark.parametrize("form", [replies.whole, replies.stream])
@pytest.mark.parametrize(("status", "later"), [(503, 1.0), (500, None)])
def test_a_failure_of_the_engine_is_raised_for_the_route_to_say(form, status, later):
    closed = []

    async def pieces():
        yield [(0, Piece(error="it broke", status=status))]

    async def stays():
        await asyncio.Event().wait()

    async def ask():
        exchange = SimpleNamespace(pieces=pieces(), close=lambda: closed.append(True))
        await form(SimpleNamespace(receive=stays), exchange, None, None)

    with pytest.raises(RequestError, match="it broke") as caught:
        asyncio.run(ask())
    assert (caught.value.status, caught.value.retry_after, closed) == (status, later, [True])
