"""What the clients of serve.py ask: prompts and images that follow from a seed, mixed lengths."""

import base64
import io
import random
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

Plan = dict[str, Any]
KEY = "a-key-for-measurements"           # where the check of keys is to be measured too


class Sizes(NamedTuple):
    """How much is asked.

    vocab:    ids of prompts stay below it
    prompts:  shortest and longest prompt, tokens
    answers:  fewest and most tokens of an answer
    alone:    requests of one client
    each:     requests of each of 16
    stagger:  seconds between the first requests of clients
    images:   of the scenarios of encoders
    side:     of an image, pixels; the network resizes it
    overhead: requests of the 64 connections
    starts:   of the cold start
    """

    vocab: int
    prompts: tuple[int, int]
    answers: tuple[int, int]
    alone: int
    each: int
    stagger: float
    images: int
    side: int
    overhead: int
    starts: int


FULL = Sizes(50256, (16, 256), (16, 128), 8, 3, 0.15, 256, 256, 6400, 3)
QUICK = Sizes(4096, (4, 24), (2, 8), 2, 1, 0.02, 8, 64, 64, 1)


def completions(sizes: Sizes, clients: int, seed: int) -> Plan:
    """Return streamed completions of mixed lengths, greedy, of prompts given as ids."""
    draw = random.Random(seed)
    count = sizes.alone if clients == 1 else clients * sizes.each

    def body() -> Plan:
        length = draw.randint(*sizes.prompts)
        # The end-of-text token in front is what every context begins with; nobody adds another.
        prompt = [sizes.vocab, *(draw.randrange(sizes.vocab) for _ in range(length - 1))]
        return {"model": "gpt", "prompt": prompt, "max_tokens": draw.randint(*sizes.answers),
                "temperature": 0, "stream": True, "stream_options": {"include_usage": True}}

    return {"path": "/v1/completions", "clients": clients, "stream": True,
            "stagger": sizes.stagger, "bodies": [body() for _ in range(count)]}


def embeddings(sizes: Sizes, clients: int, seed: int) -> Plan:
    """Return embeddings of images, one a request, as base64 both ways."""
    images = [picture(sizes.side, seed + i) for i in range(min(sizes.images, 32))]
    bodies = [{"model": "vit", "input": images[i % len(images)], "encoding_format": "base64"}
              for i in range(sizes.images)]
    return {"path": "/v1/embeddings", "clients": clients, "stream": False, "stagger": 0.0,
            "bodies": bodies}


def picture(side: int, seed: int) -> str:
    """Return a smooth JPEG as base64: noise would cost more to decode than photographs do."""
    draw = np.random.default_rng(seed)
    small = Image.fromarray(draw.integers(0, 256, (8, 8, 3), dtype=np.uint8))
    file = io.BytesIO()
    small.resize((side, side), Image.Resampling.BICUBIC).save(file, "jpeg", quality=90)
    return base64.b64encode(file.getvalue()).decode()


def overheads(sizes: Sizes) -> dict[str, tuple[str, Plan]]:
    """Return what 64 connections ask of trivial models: name -> (model, plan)."""
    ask = {"clients": 64, "stream": False, "stagger": 0.0, "key": KEY}
    image = picture(16, 0)
    one = {"model": "vit", "input": image, "encoding_format": "base64"}
    text = {"model": "gpt", "prompt": [256, 104, 105], "max_tokens": 1, "temperature": 0}
    return {
        "GET /v1/models": ("vit", {**ask, "path": "/v1/models",
                                   "bodies": [None] * sizes.overhead}),
        "embedding": ("vit", {**ask, "path": "/v1/embeddings", "bodies": [one] * sizes.overhead}),
        "completion of 1 token": ("gpt", {**ask, "path": "/v1/completions",
                                          "bodies": [text] * sizes.overhead})}
