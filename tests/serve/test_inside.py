"""A batch's request comes again where it is told to, and not for ever."""

import asyncio
import math

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse

from ssljax.serve import inside
from ssljax.serve.caller import Caller
from ssljax.serve.inside import PATIENCE, Ask, ask, filled


@pytest.fixture
def tries(monkeypatch):
    """Return tries(statuses, body): (status, how often it was asked), on a clock of its own."""
    now = 0.0

    async def sleep(seconds):
        nonlocal now
        now += seconds

    monkeypatch.setattr(inside.asyncio, "sleep", sleep)

    def run(statuses, patience=PATIENCE, **body):
        asked = []

        async def app(scope, receive, send):
            asked.append(await Request(scope, receive).json())
            answer = JSONResponse({}, statuses[min(len(asked), len(statuses)) - 1])
            await answer(scope, receive, send)

        request = Ask("r", "/v1/embeddings", body, Caller(), 0)
        status, _ = asyncio.run(ask(app, request, patience=patience, clock=lambda: now))
        return status, len(asked)

    return run


def test_who_finds_no_room_asks_until_there_is_some(tries):
    assert tries([429, 503] * 50 + [200]) == (200, 101)


def test_failures_are_asked_again_a_few_times(tries):
    assert tries([500]) == (500, 4)
    assert tries([400]) == (400, 1)


def test_no_room_for_an_hour_is_an_answer(tries):
    status, asked = tries([503])
    assert status == 503 and 1700 < asked < 1900
    assert tries([503] * 9000 + [200], math.inf) == (200, 9001)


def test_a_batch_has_more_patience_with_encoders_than_a_client():
    asked = Ask("r", "/v1/embeddings", {"input": "a"}, Caller(), 0)
    assert filled(asked)["max_wait"] == PATIENCE
    assert filled(asked._replace(body={"max_wait": 2}))["max_wait"] == 2
    assert "max_wait" not in filled(asked._replace(url="/v1/completions"))


def test_what_a_request_would_wait_is_its_own_matter(tries):
    assert tries([503], max_wait=0) == (503, 1)
    assert tries([503], max_wait=1)[1] < 8
    assert tries([400], max_wait="x") == (400, 1)
