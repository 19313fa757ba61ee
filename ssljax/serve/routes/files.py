"""Files of OpenAI's interface: what batches read and what they wrote.

    POST   /v1/files                multipart: file, purpose "batch"
    GET    /v1/files                those of the caller; ?purpose=, limit=, after=
    GET    /v1/files/ID             one
    GET    /v1/files/ID/content     its bytes
    DELETE /v1/files/ID

https://platform.openai.com/docs/api-reference/files
"""

import asyncio
import secrets
from pathlib import Path
from typing import Any

from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import Message, Receive

from ssljax.core.errors import RequestError
from ssljax.serve.checks import text
from ssljax.serve.http import call_of
from ssljax.serve.jobs_folder import JobsFolder, public
from ssljax.serve.served import Server

BYTES = 200 << 20                  # of an upload, as OpenAI's batches have it
UPLOAD_SECONDS = 600.0
PAGE, LARGEST_PAGE = 20, 100       # objects of a list
LONGEST_NAME = 255                 # characters of a file's name
PURPOSES = ("batch",)


def routes(server: Server) -> list[BaseRoute]:
    """Return the routes of files; none where the server keeps none."""
    if server.jobs is None:
        return []
    jobs = server.jobs.folder

    async def files(request: Request) -> Response:
        if request.method == "GET":
            found = jobs.files(call_of(request).caller)
            purpose = request.query_params.get("purpose")
            return JSONResponse(page(request, [f for f in found
                                               if purpose in (None, f["purpose"])]))
        return JSONResponse(public(await upload(request, jobs)))

    async def file(request: Request) -> Response:
        identity, caller = request.path_params["id"], call_of(request).caller
        if request.method == "GET":
            return JSONResponse(public(jobs.file(identity, caller)[0]))
        jobs.delete(identity, caller)
        return JSONResponse({"id": identity, "object": "file", "deleted": True})

    async def content(request: Request) -> Response:
        about, path = jobs.file(request.path_params["id"], call_of(request).caller)
        return FileResponse(path, media_type="application/octet-stream",
                            filename=about["filename"])

    return [Route("/v1/files", files, methods=["GET", "POST"]),
            Route("/v1/files/{id}", file, methods=["GET", "DELETE"]),
            Route("/v1/files/{id}/content", content)]


async def upload(request: Request, jobs: JobsFolder) -> dict[str, Any]:
    """Keep the file of a multipart body; return its object.

    Raises:
        RequestError: a part is missing or unknown, or it is too large (413) or too slow (408).
    """
    limited = Request(request.scope, limit(request.receive, BYTES + (1 << 16)))
    try:
        async with asyncio.timeout(UPLOAD_SECONDS), limited.form(max_files=1,
                                                                 max_fields=4) as form:
            file, purpose = form.get("file"), form.get("purpose")
            if not isinstance(file, UploadFile):
                raise RequestError("file is missing; expected a multipart body with file and "
                                   "purpose.", param="file")
            if purpose not in PURPOSES:
                raise RequestError(f'purpose is {str(purpose)[:80]!r}; expected "batch".',
                                   param="purpose")
            name = text("filename", (file.filename or "upload")[:LONGEST_NAME])
            path = jobs.folder / "incoming" / secrets.token_hex(12)
            await asyncio.to_thread(keep, file, path)
            return await asyncio.to_thread(jobs.add_file, path, name, purpose,
                                           call_of(request).caller.id)
    except TimeoutError as err:
        raise RequestError(f"The file did not arrive within {UPLOAD_SECONDS:g} seconds.",
                           status=408) from err


def keep(file: UploadFile, path: Path) -> None:
    """Write an upload to a file of its own."""
    with path.open("wb") as kept:
        while part := file.file.read(1 << 20):
            kept.write(part)


def limit(receive: Receive, most: int) -> Receive:
    """Return `receive` that refuses a body of more than `most` bytes (413)."""
    seen = 0

    async def limited() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > most:
            raise RequestError(f"The file has more than {BYTES} bytes, the most that is kept.",
                               status=413)
        return message

    return limited


def page(request: Request, found: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the part of a list that ?after= and limit= ask for.

    Raises:
        RequestError: limit is no number from 1 to LARGEST_PAGE.
    """
    after, size = request.query_params.get("after"), request.query_params.get("limit", str(PAGE))
    if not size.isascii() or not size.isdigit() or not 1 <= int(size[:9]) <= LARGEST_PAGE:
        raise RequestError(f"limit is {size[:80]!r}; expected from 1 to {LARGEST_PAGE}.",
                           param="limit")
    ids = [each["id"] for each in found]
    start = ids.index(after) + 1 if after in ids else 0
    shown = [public(each) for each in found[start:start + int(size)]]
    return {"object": "list", "data": shown, "has_more": start + len(shown) < len(found),
            "first_id": shown[0]["id"] if shown else None,
            "last_id": shown[-1]["id"] if shown else None}
