"""What users put around transformers and onnxruntime: HTTP, and requests in static batches.

    .bench-env-serve/bin/python tools/bench/serve_peer.py KIND MODEL [--batch 16] [--wait 0.01]

KIND is transformers (MODEL a folder; /v1/completions, streamed if asked) or onnxruntime (MODEL an
.onnx file; /v1/embeddings of base64 images). Requests that come within `--wait` seconds of the
first are computed together, up to `--batch`; those that come later wait for the next batch. A
batch of texts is padded on the left and runs until its longest answer is done. Generous to
transformers: every token is sent as it comes, in batches too, which its own streamers refuse.
"""

import argparse
import asyncio
import base64
import io
import json
import os
import socket
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

Send = Callable[[Any], None]


class Batches:
    """Collect what requests ask for and hand it over in batches, from one thread."""

    def __init__(self, run: Callable[[list], None], size: int, wait: float):
        """`run` gets a list of (body, send)."""
        self.run, self.size, self.wait = run, size, wait
        self.queue: asyncio.Queue = asyncio.Queue()

    async def work(self) -> None:
        """Compute batch after batch."""
        loop = asyncio.get_running_loop()
        while True:
            batch = [await self.queue.get()]
            end = loop.time() + self.wait
            while len(batch) < self.size and (left := end - loop.time()) > 0:
                try:
                    batch.append(await asyncio.wait_for(self.queue.get(), left))
                except TimeoutError:
                    break
            while len(batch) < self.size and not self.queue.empty():
                batch.append(self.queue.get_nowait())
            await asyncio.to_thread(self.run, batch)

    async def ask(self, body: dict) -> AsyncIterator[Any]:
        """Yield what the batch sends for one request, until None."""
        loop, found = asyncio.get_running_loop(), asyncio.Queue()

        def send(value: Any) -> None:
            loop.call_soon_threadsafe(found.put_nowait, value)

        await self.queue.put((body, send))
        while (value := await found.get()) is not None:
            yield value


def make_generate(folder: str) -> Callable[[list], None]:
    """Return what answers a batch of completions with transformers' generate."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.generation.streamers import BaseStreamer

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    end = tokenizer.eos_token_id

    class Streams(BaseStreamer):
        """Send each row's token as it is chosen, until the row has all it asked for."""

        def __init__(self, rows: list):
            self.rows, self.sent, self.prompt = rows, [0] * len(rows), True

        def put(self, value: Any) -> None:
            if self.prompt:                            # generate begins with the prompt itself
                self.prompt = False
                return
            for i, (token, (body, send)) in enumerate(
                    zip(value.reshape(-1).tolist(), self.rows, strict=True)):
                if 0 <= self.sent[i] < body["max_tokens"] and token != end:
                    self.sent[i] += 1
                    send(token)
                elif self.sent[i] >= 0:
                    self.finish(i)

        def finish(self, i: int) -> None:
            self.rows[i][1](None)
            self.sent[i] = -1

        def end(self) -> None:
            for i, sent in enumerate(self.sent):
                if sent >= 0:
                    self.finish(i)

    def run(rows: list) -> None:
        longest = max(len(body["prompt"]) for body, _ in rows)
        ids = torch.tensor([[end] * (longest - len(b["prompt"])) + b["prompt"] for b, _ in rows])
        mask = torch.tensor([[0] * (longest - len(b["prompt"])) + [1] * len(b["prompt"])
                             for b, _ in rows])
        with torch.no_grad():
            model.generate(ids, attention_mask=mask, do_sample=False, pad_token_id=end,
                           max_new_tokens=max(body["max_tokens"] for body, _ in rows),
                           streamer=Streams(rows))

    run.decode = tokenizer.decode
    return run


def make_embed(file: str) -> Callable[[list], None]:
    """Return what answers a batch of images with onnxruntime."""
    import numpy as np
    import onnxruntime
    from PIL import Image

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = len(os.sched_getaffinity(0))
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    side = session.get_inputs()[0].shape[2]

    def pixels(text: str) -> Any:
        image = Image.open(io.BytesIO(base64.b64decode(text))).convert("RGB")
        image = image.resize((side, side), Image.Resampling.BILINEAR)
        return ((np.asarray(image, np.float32) / 255 - 0.5) / 0.5).transpose(2, 0, 1)

    def run(rows: list) -> None:
        (vectors,) = session.run(None, {"image": np.stack([pixels(b["input"]) for b, _ in rows])})
        for vector, (_, send) in zip(vectors, rows, strict=True):
            send(vector)
            send(None)

    return run


def completions(batches: Batches) -> Route:
    """Return POST /v1/completions."""
    async def answer(request: Request) -> Response:
        body = await request.json()

        async def lines() -> AsyncIterator[str]:
            count = 0
            async for token in batches.ask(body):
                count += 1
                choice = {"index": 0, "text": batches.run.decode([token])}
                yield f'data: {json.dumps({"choices": [choice]}, separators=(",", ":"))}\n\n'
            usage = {"choices": [], "usage": {"completion_tokens": count}}
            yield f'data: {json.dumps(usage, separators=(",", ":"))}\n\ndata: [DONE]\n\n'

        return StreamingResponse(lines(), media_type="text/event-stream")

    return Route("/v1/completions", answer, methods=["POST"])


def embeddings(batches: Batches) -> Route:
    """Return POST /v1/embeddings of one image."""
    async def answer(request: Request) -> Response:
        (vector,) = [v async for v in batches.ask(await request.json())]
        return JSONResponse({"object": "list", "data": [
            {"object": "embedding", "index": 0,
             "embedding": base64.b64encode(vector.tobytes()).decode()}]})

    return Route("/v1/embeddings", answer, methods=["POST"])


def main() -> None:
    """Load, listen on any free port, print the URL."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kind", choices=("transformers", "onnxruntime"))
    parser.add_argument("model")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--wait", type=float, default=0.01)
    args = parser.parse_args()
    text = args.kind == "transformers"
    batches = Batches((make_generate if text else make_embed)(args.model), args.batch, args.wait)
    app = Starlette(routes=[(completions if text else embeddings)(batches)])
    sock = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False))

    async def serve() -> None:
        work = asyncio.create_task(batches.work())
        print(f"on http://127.0.0.1:{sock.getsockname()[1]} ({threading.active_count()} threads)",
              flush=True)
        await server.serve(sockets=[sock])
        work.cancel()

    asyncio.run(serve())


if __name__ == "__main__":
    main()
