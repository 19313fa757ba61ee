"""Ask a server over HTTP as several clients do at once, and note when what came. Stdlib only.

    python tools/bench/serve_load.py URL < PLAN.json

PLAN is {"path", "clients", "stagger", "stream", "bodies"}, and "key" where one is needed: client
number i begins after i * `stagger` seconds, keeps one connection, and sends bodies i, i + clients,
... one after the other.
Prints one JSON line: {"seconds", "answers": [{"status", "first", "last", "seconds", "tokens",
"text"}, ...]} in the order of bodies; with many clients "text" is the digest of the answer's body.
"""

import asyncio
import hashlib
import json
import sys
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any
from urllib.parse import urlsplit

KEPT = 4096         # characters of an answer that is no stream


async def ask(url: str, path: str, body: bytes, connection: list,
              key: str = "") -> AsyncIterator[bytes]:
    """Yield the status as bytes and then the parts of the answer, as they come.

    Args:
        url: of the server.
        path: what is asked.
        body: JSON, sent by POST; b"" asks by GET.
        connection: [reader, writer], kept from one request to the next, or [].
        key: sent as a bearer's, if any.
    """
    where = urlsplit(url)
    if not connection:
        connection[:] = await asyncio.open_connection(where.hostname, where.port, limit=2**24)
    reader, writer = connection
    bearer = f"Authorization: Bearer {key}\r\n" if key else ""
    writer.write(f"{'POST' if body else 'GET'} {path} HTTP/1.1\r\nHost: {where.netloc}\r\n{bearer}"
                 f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
                 + body)
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")
    yield head[0].split()[1].encode()
    fields = dict(line.split(": ", 1) for line in head[1:] if ": " in line)
    if "content-length" in fields:
        yield await reader.readexactly(int(fields["content-length"]))
    else:
        while size := int((await reader.readline()).split(b";")[0], 16):
            yield (await reader.readexactly(size + 2))[:-2]
        await reader.readline()
    if fields.get("connection") == "close":
        writer.close()
        connection.clear()


async def timed(url: str, plan: Mapping[str, Any], body: bytes, connection: list,
                ) -> dict[str, Any]:
    """Return one answer and when it came; a lost connection has status 0."""
    start = time.perf_counter()
    found: dict[str, Any] = {"status": 0, "first": None, "last": None, "tokens": 0, "text": ""}
    parts: list[bytes] = []
    try:
        async for part in ask(url, plan["path"], body, connection, plan.get("key", "")):
            if not found["status"]:
                found["status"] = int(part)
                continue
            parts.append(part)
            if plan["stream"] and b'"choices"' in part and b'"choices":[]' not in part:
                found["last"] = time.perf_counter() - start
                found["first"] = found["first"] or found["last"]
    except (OSError, ValueError, EOFError) as err:
        connection.clear()
        found |= {"status": 0, "text": repr(err)}
    found["seconds"] = time.perf_counter() - start
    whole = b"".join(parts)
    if found["status"] != 200:
        return {**found, "text": found["text"] or whole[:400].decode("utf-8", "replace")}
    return {**found, **(events(whole) if plan["stream"] else answer(whole))}


def events(whole: bytes) -> dict[str, Any]:
    """Return text and tokens of server-sent events."""
    text, tokens = [], 0
    for line in whole.split(b"\n"):
        if line.startswith(b"data: {"):
            event = json.loads(line[6:])
            text += [choice.get("text") or "" for choice in event.get("choices", ())]
            tokens = (event.get("usage") or {}).get("completion_tokens", tokens)
    return {"text": "".join(text), "tokens": tokens}


def answer(whole: bytes) -> dict[str, Any]:
    """Return the answer itself where it is small, else a digest."""
    digest = hashlib.sha256(whole).hexdigest()
    return {"text": whole.decode() if len(whole) <= KEPT else digest}


async def client(url: str, plan: Mapping[str, Any], number: int, answers: list) -> None:
    """Ask for one client's share."""
    await asyncio.sleep(number * plan["stagger"])
    connection: list = []
    for i in range(number, len(plan["bodies"]), plan["clients"]):
        body = plan["bodies"][i]
        data = b"" if body is None else json.dumps(body).encode()
        answers[i] = await timed(url, plan, data, connection)
    if connection:
        connection[1].close()


async def load(url: str, plan: Mapping[str, Any]) -> dict[str, Any]:
    """Let all clients ask; return what came."""
    answers: list = [None] * len(plan["bodies"])
    start = time.perf_counter()
    await asyncio.gather(*(client(url, plan, i, answers) for i in range(plan["clients"])))
    return {"seconds": time.perf_counter() - start, "answers": answers}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(load(sys.argv[1], json.load(sys.stdin)))))
