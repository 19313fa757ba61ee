"""A server's comparison page is made when it is asked for, once, or at once if it was told more."""

import asyncio
import subprocess
import sys

import httpx
import pytest
from starlette.responses import PlainTextResponse

from ssljax.core.errors import ServeError
from ssljax.runs import arena
from ssljax.runs.arena_options import ArenaOptions
from ssljax.runs.arena_page import page_when_asked
from ssljax.serve.keys import no_keys


def test_the_page_is_made_once_by_whoever_asks_first(monkeypatch):
    made, real = [], arena.page_over
    monkeypatch.setattr(arena, "page_over", lambda *given: made.append(1) or real(*given))

    async def ask(app, *paths):
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app),
                                     base_url="http://here") as client:
            return await asyncio.gather(*map(client.get, paths))

    with page_when_asked(PlainTextResponse("models"), ArenaOptions(), no_keys()) as app:
        assert asyncio.run(ask(app, "/v1/models"))[0].text == "models" and not made
        *page, models = asyncio.run(ask(app, "/", "/", "/arena/no", "/v1/models"))
        assert [answer.status_code for answer in page] == [200, 200, 404]
        assert "text/html" in page[0].headers["content-type"] and made == [1]
        assert models.text == "models"


def test_what_it_is_told_is_checked_at_the_start(tmp_path):
    with (pytest.raises(ServeError, match="only to those with a key"),
          page_when_asked(PlainTextResponse(), ArenaOptions(data=(tmp_path,)), no_keys())):
        pass


def test_a_server_starts_without_the_page_s_code():
    code = ("import sys, ssljax.runs.serve; "
            "sys.exit(', '.join({'ssljax.runs.arena', 'ssljax.serve.arena.app', 'httpcore'} "
            "& set(sys.modules)) or None)")
    told = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert (told.returncode, told.stderr) == (0, "")
