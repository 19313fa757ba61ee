"""Records per second by source and pretext, and the part of a training step that waits for input.

    python tools/bench/input.py [--json FILE] [--records 20000] [--batches 100] [--workers 0]
    python tools/bench/input.py --decode 0,1,2,4 [--images 1000] [--side 400]     JPEGs by workers

Writes the same made-up records in every format, reads them shuffled through the whole input
pipeline of a run, and beside it in the same run through plain Grain (MapDataset: shuffle, repeat,
map, batch), the loader others use, over the same files. Training two small models says how much of
a step's time is lost to input. Ratios above 1 mean ours is faster. With --decode it makes a zip of
JPEG files instead and reads it with so many worker processes: images decoded a second.
"""

import argparse
import io
import json
import os
import pathlib
import platform
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import grain
import jax
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from ssljax.core import sharding
from ssljax.core.config import resolve
from ssljax.core.files import sha256
from ssljax.core.source import Source
from ssljax.core.types import Pretext
from ssljax.data.mixture import make_schedule
from ssljax.data.packing import packed
from ssljax.data.pipeline import batches
from ssljax.data.stream import Stream
from ssljax.runs.build import build_method
from ssljax.sources import array_record
from ssljax.sources.manifest import File, Manifest, Shard, write_manifest
from ssljax.train.state import init_state
from ssljax.train.step import make_train_step

SEQ_LEN, IMAGE, VOCAB_SIZE = 512, 32, 4096
PEER = f"grain {grain.__version__ if hasattr(grain, '__version__') else ''}".strip()
STEP = {"seed": 0, "batch_size": 8, "total_steps": 100,
        "optim": {"name": "adamw", "lr": 1e-3, "clip_norm": 1.0, "weight_decay": 0.1},
        "schedule": {"name": "cosine", "warmup_steps": 2}}
GPT = {"model": {"name": "gpt", "vocab_size": VOCAB_SIZE, "width": 128, "depth": 2, "num_heads": 4},
       "objective": {"name": "next_token"}, "pretext": {"name": "next_token", "seq_len": SEQ_LEN}}
VIT = {"model": {"name": "vit", "image_size": IMAGE, "patch_size": 4, "width": 128, "depth": 2,
                 "num_heads": 4},
       "objective": {"name": "mae", "patch_size": 4, "decoder": {
           "name": "vit_decoder", "image_size": IMAGE, "patch_size": 4, "width": 64, "depth": 1,
           "num_heads": 4}},
       "pretext": {"name": "masked_patches", "size": IMAGE, "patch_size": 4}}


class Case(NamedTuple):
    """What is read, and how."""

    name: str
    parts: Mapping[str, Source]
    pretext: Pretext
    unit: str                        # of a row


def documents(count: int) -> list[np.ndarray]:
    """Return made-up documents of log-normal lengths, median 300 tokens."""
    r = np.random.default_rng(0)
    lengths = np.maximum(1, r.lognormal(np.log(300), 1.0, count)).astype(int)
    return [r.integers(0, VOCAB_SIZE, n).astype(np.int32) for n in lengths]


def write_text(folder: pathlib.Path, count: int) -> dict[str, Source]:
    """Write documents in every format; return format -> source."""
    texts = documents(count)
    (folder / "shards" / "train").mkdir(parents=True)
    flat, offsets = folder / "shards/train/00000.tokens", folder / "shards/train/00000.offsets"
    np.concatenate(texts).astype("<u2").tofile(flat)
    np.cumsum([0, *map(len, texts)]).astype("<i8").tofile(offsets)
    total = sum(map(len, texts))
    shard = Shard("train/00000.tokens", flat.stat().st_size, sha256(flat), "train", count, total)
    file = File("train/00000.offsets", offsets.stat().st_size, sha256(offsets))
    write_manifest(folder / "shards", Manifest(
        name="bench", version="1", parents=(), licences={}, recipe={}, recipe_hash="",
        tokenizer_hash="", vocab_size=VOCAB_SIZE, shards=(shard,), files=(file,), read=count,
        splits={"train": {"documents": count, "tokens": total, "text_bytes": 0}}, kept=count,
        dropped={}))
    array_record.write(str(folder / "text.array_record"), ({"tokens": t} for t in texts))
    pq.write_table(pa.table({"tokens": texts}), folder / "text.parquet", row_group_size=256)
    cut = np.concatenate(texts)[:total // SEQ_LEN * SEQ_LEN].reshape(-1, SEQ_LEN)[:, 1:]
    (folder / "text").mkdir()
    np.save(folder / "text" / "tokens.npy", cut)
    return open_all(folder, {
        "token_shards": {"path": str(folder / "shards")},
        "array_record": {"path": str(folder / "text.array_record")},
        "parquet": {"path": str(folder / "text.parquet")},
        "arrays": {"path": str(folder / "text")}})


def write_images(folder: pathlib.Path, count: int) -> dict[str, Source]:
    """Write images in every format; return format -> source."""
    images = np.random.default_rng(1).integers(0, 256, (count, IMAGE, IMAGE, 3), np.uint8)
    array_record.write(str(folder / "image.array_record"), ({"image": i} for i in images))
    pq.write_table(pa.table({"image": list(images.reshape(count, -1))}), folder / "image.parquet",
                   row_group_size=256)
    (folder / "image").mkdir()
    np.save(folder / "image" / "image.npy", images)
    return open_all(folder, {
        "array_record": {"path": str(folder / "image.array_record")},
        "parquet": {"path": str(folder / "image.parquet"),
                    "shapes": {"image": (IMAGE, IMAGE, 3)}},
        "arrays": {"path": str(folder / "image")}})


def open_all(folder: pathlib.Path, specs: Mapping[str, Mapping[str, Any]]) -> dict[str, Source]:
    """Return name -> source of each spec."""
    return {name: resolve("sources", {"name": name, **spec}, cache=str(folder / "cache"))
            for name, spec in specs.items()}


def make_cases(folder: pathlib.Path, count: int) -> list[Case]:
    """Return every source with every pretext that can read it."""
    cache, text, image = str(folder / "cache"), *(
        write(folder, count) for write in (write_text, write_images))
    language = resolve("pretext", GPT["pretext"])

    def rows(source: Source, method: str) -> Source:
        return packed(source, seq_len=SEQ_LEN, end_of_text=0, seed=0, method=method, cache=cache)

    fits = {name: rows(source, "best_fit") for name, source in text.items()}
    joined = rows(text["token_shards"], "concatenate")
    cases = [Case(f"{name}, next_token", {"data": part}, language, "rows/s")
             for name, part in fits.items()]
    cases += [Case("token_shards, next_token, concatenate", {"data": joined}, language, "rows/s"),
              Case("mixture of 2 token_shards, next_token",
                   {"a": fits["token_shards"], "b": joined}, language, "rows/s")]
    pixels = (resolve("pretext", {"name": "two_views", "size": IMAGE}),
              resolve("pretext", VIT["pretext"]))
    return cases + [Case(f"{name}, {label}", {"data": part}, pretext, "images/s")
                    for name, part in image.items()
                    for label, pretext in zip(("two_views", "masked_patches"), pixels, strict=True)]


def stream_of(case: Case, batch_size: int) -> Stream:
    """Return the stream of a case, its parts equally often."""
    schedule = make_schedule([(0, (1.0,) * len(case.parts))])
    return Stream(case.parts, case.pretext.example, batch_size, 0, schedule)


def plain_grain(case: Case, batch_size: int) -> Iterator[Any] | None:
    """Return Grain's own pipeline over the same records, None where it cannot say the same."""
    if len(case.parts) > 1:
        return None
    (source,) = case.parts.values()

    def read(index: int, rng: np.random.Generator) -> Mapping[str, np.ndarray]:
        return case.pretext.example(source.read(np.array([index]))[0], rng)

    data = grain.MapDataset.range(len(source)).seed(0).shuffle().repeat().random_map(read)
    options = grain.ReadOptions(num_threads=1, prefetch_buffer_size=2)
    return iter(data.batch(batch_size).to_iter_dataset(options))


def rate(elements: Iterator[Any], count: int, batch_size: int, warm: int = 5) -> float:
    """Return rows a second over `count` batches, after `warm` that open files."""
    for _ in range(warm):
        next(elements)
    began = time.perf_counter()
    for _ in range(count):
        next(elements)
    return count * batch_size / (time.perf_counter() - began)


def write_jpegs(path: pathlib.Path, count: int, side: int) -> None:
    """Write a zip of JPEG files of `side` by 4/3 `side` pixels, detailed like photographs."""
    r = np.random.default_rng(2)
    with zipfile.ZipFile(path, "w") as archive:
        for i in range(count):
            rough = Image.fromarray(r.integers(0, 256, (side // 16, side // 12, 3), np.uint8))
            file = io.BytesIO()
            rough.resize((side * 4 // 3, side), Image.Resampling.BICUBIC).save(file, "jpeg")
            archive.writestr(f"{i % 10}/{i:06d}.jpg", file.getvalue())


def measure_decoding(folder: pathlib.Path, args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yield images decoded a second, by what is kept of them and number of workers."""
    write_jpegs(folder / "jpegs.zip", args.images, args.side)
    source = resolve("sources", {"name": "images", "path": str(folder / "jpegs.zip")},
                     cache=str(folder / "cache"))
    for crop in ("centre", "random"):
        pretext = resolve("pretext", {"name": "two_views", "size": 224, "source_size": 224,
                                      "host_crop": crop})
        case = Case(f"zip of JPEG, host_crop {crop}", {"data": source}, pretext, "images/s")
        for workers in map(int, args.decode.split(",")):
            rows = batches(stream_of(case, args.batch_size), start=0, host=0, hosts=1,
                           workers=workers, place=lambda x: x)
            ready = 5 + 4 * workers              # what stands ready when the measurement begins
            found = closing(rows, lambda e, n=ready: rate(e, args.batches, args.batch_size, n))
            yield row(f"{case.name}, {workers} workers", "throughput", case.unit, found, None,
                      "how it grows with workers is the question")


def closing(elements: Any, measure: Callable[[Any], float]) -> float:
    """Return measure(elements) and end its threads."""
    try:
        return measure(elements)
    finally:
        elements.close()


def row(case: str, metric: str, unit: str, ours: float, peer: float | None,
        why: str = "") -> dict[str, Any]:
    """Return one row of the report."""
    found = {"case": case, "metric": metric, "unit": unit, "ours": ours, "peer": peer,
             "peer_name": PEER if peer else None, "ratio": ours / peer if peer else None}
    return found if peer else found | {"why": why}


def measure_rates(cases: list[Case], count: int, batch_size: int,
                  workers: int) -> Iterator[dict[str, Any]]:
    """Yield the rows of every source and pretext."""
    for case in cases:
        def run(elements: Any) -> float:
            return rate(elements, count, batch_size)

        ours = closing(batches(stream_of(case, batch_size), start=0, host=0, hosts=1,
                               workers=workers, place=lambda x: x), run)
        other = plain_grain(case, batch_size)
        peer = closing(other, run) if other is not None else None
        yield row(case.name, "throughput", case.unit, ours, peer, "Grain mixes without stages")


def lost_to_input(config: Mapping[str, Any], case: Case, count: int, workers: int) -> float:
    """Return the percent of a training loop's time that waits for the next batch."""
    method = build_method({**STEP, **config})
    state = init_state(method.init, method.key, None)
    step = jax.jit(make_train_step(method.objective, method.tx, views=method.pretext.views),
                   donate_argnums=0)
    rows = batches(stream_of(case, STEP["batch_size"]), start=0, host=0, hosts=1, workers=workers,
                   place=lambda batch: sharding.place_batch(None, batch))
    waited = 0.0
    try:
        state, _ = jax.block_until_ready(step(state, next(rows)))
        start = time.perf_counter()
        for _ in range(count):
            began = time.perf_counter()
            batch = next(rows)
            waited += time.perf_counter() - began
            state, _ = jax.block_until_ready(step(state, batch))
        return 100 * waited / (time.perf_counter() - start)
    finally:
        rows.close()


def measure_formats(folder: pathlib.Path, args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yield the rows of every format and of two models that train from them."""
    cases = make_cases(folder, args.records)
    yield from measure_rates(cases, args.batches, args.batch_size, args.workers)
    by_name = {case.name: case for case in cases}
    for label, config, name in (("GPT, ", GPT, "token_shards, next_token"),
                                ("ViT, ", VIT, "array_record, masked_patches")):
        lost = lost_to_input(config, by_name[name], max(10, args.batches // 4), args.workers)
        yield row(label + name, "step time lost to input", "%", lost, None,
                  "a property of one loop")


def main() -> None:
    """Measure, print a table, and write JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=pathlib.Path, help="write the rows here")
    parser.add_argument("--records", type=int, default=20_000, help="in every format")
    parser.add_argument("--batches", type=int, default=100, help="measured, of every case")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--workers", type=int, default=0, help="processes that read")
    parser.add_argument("--decode", default="", help="numbers of workers that decode JPEGs")
    parser.add_argument("--images", type=int, default=1000, help="JPEG files of --decode")
    parser.add_argument("--side", type=int, default=400, help="their shorter side in pixels")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure = measure_decoding if args.decode else measure_formats
        rows = list(measure(pathlib.Path(folder), args))
    machine = {"cpu": platform.processor() or platform.machine(), "cores": os.cpu_count(),
               "workers": args.workers, "jax": jax.__version__, "device": jax.default_backend()}
    print(f"{'case':50s} {'ours':>12s} {'Grain':>12s} {'ratio':>6s}")
    for r in rows:
        peer, ratio = (f"{r['peer']:12,.0f}", f"{r['ratio']:6.2f}") if r["peer"] else (" " * 12, "")
        print(f"{r['case']:50s} {r['ours']:12,.1f} {peer} {ratio} {r['unit']}")
    if args.json:
        report = {"benchmark": "input", "machine": machine, "rows": rows}
        args.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
