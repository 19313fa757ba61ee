"""GET /: a page to try prompts on, without external assets."""

import importlib.resources

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Route

from ssljax.serve.served import Server

PAGE_POLICY = ("default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
               "connect-src 'self'")


def routes(server: Server) -> list[BaseRoute]:
    """Return the page's route."""
    page = importlib.resources.files("ssljax.serve").joinpath("page.html").read_text("utf-8")

    async def home(request: Request) -> Response:
        return HTMLResponse(page, headers={"Content-Security-Policy": PAGE_POLICY})

    return [Route("/", home)]
