"""The data viewer over HTTP: always behind a key.

GET /arena/data/NUMBER/rows?q=&split=&reason=&start=    rows of a data set
GET /arena/data/NUMBER/images/ROW                       the image of a row
"""

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from ssljax.core.errors import RequestError
from ssljax.serve.arena.state import Answering, Arena, guarded
from ssljax.serve.arena.viewer import MOST_ROWS, Dataset, Query

LONGEST_QUERY = 200              # characters
# First bytes of what browsers draw; anything else is not sent as an image (SVG can hold scripts).
IMAGES = ((b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg"),
          (b"GIF8", "image/gif"), (b"RIFF", "image/webp"))


def routes(arena: Arena) -> list[BaseRoute]:
    """Return the routes of the data viewer."""
    async def rows(request: Request, authorization: str) -> Response:
        found = await run_in_threadpool(dataset_of(request, arena).find, read_query(request))
        return JSONResponse(found._asdict(), headers={"Cache-Control": "no-store"})

    async def image(request: Request, authorization: str) -> Response:
        data = await run_in_threadpool(dataset_of(request, arena).image,
                                       request.path_params["row"])
        kind = next((kind for start, kind in IMAGES if data and data.startswith(start)), None)
        if data is None or kind is None:
            raise RequestError("This row has no image that a browser draws.", status=404)
        return Response(data, media_type=kind, headers={
            "X-Content-Type-Options": "nosniff", "Content-Security-Policy": "sandbox",
            "Cache-Control": "private, max-age=3600"})

    return [Route("/arena/data/{number:int}/rows", guarded(arena, keyed(arena, rows))),
            Route("/arena/data/{number:int}/images/{row:int}", guarded(arena, keyed(arena, image)))]


def keyed(arena: Arena, answer: Answering) -> Answering:
    """Return `answer`, refused on a server that anybody may use: it shows training data."""
    async def checked(request: Request, authorization: str) -> Response:
        if arena.keyless:
            raise RequestError("Data is shown to those with a key only, and this server has none; "
                               "start it with SSLJAX_API_KEY set.", status=403)
        return await answer(request, authorization)

    return checked


def dataset_of(request: Request, arena: Arena) -> Dataset:
    """Return the data set that a path names.

    Raises:
        RequestError: there is no such.
    """
    number = request.path_params["number"]
    if number >= len(arena.datasets):
        raise RequestError(f"There is no data set {number}; there are {len(arena.datasets)}.",
                           status=404)
    return arena.datasets[number]


def read_query(request: Request) -> Query:
    """Return which rows a request asks for.

    Raises:
        RequestError: a field is out of range.
    """
    given = request.query_params
    text = given.get("q", "")
    if len(text) > LONGEST_QUERY:
        raise RequestError(f"q has {len(text)} characters; at most {LONGEST_QUERY}.", param="q")
    return Query(text, given.get("split", ""), given.get("reason", ""),
                 whole(given.get("start", "0"), "start", 2**62),
                 whole(given.get("count", "20"), "count", MOST_ROWS))


def whole(text: str, name: str, high: int) -> int:
    """Return a number of the query string."""
    if not text.isascii() or not text.isdigit() or len(text) > 19 or int(text) > high:
        raise RequestError(f"{name} is {text[:40]!r}; expected a whole number up to {high}.",
                           param=name)
    return int(text)
