"""Batches beside online traffic: a thread with an event loop of its own asks the application.

Low priority: a request of a batch starts only while nobody waits for its model's engine and a slot
beyond it stays free, so an online request finds one at once. Exactly once and resumable: answers
go into parts (parts.py) in the order of the input, and are published together; ids, times and
seeds come from the batch, so a server that was killed goes on to the same bytes.
"""

import asyncio
import contextlib
import json
import math
import queue
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from absl import logging
from starlette.types import ASGIApp

from ssljax.core.errors import DataError, RequestError
from ssljax.core.files import write_atomic
from ssljax.serve.batch_lines import (
    Line,
    LineError,
    answer_line,
    check_lines,
    parse_line,
    read_lines,
)
from ssljax.serve.caller import Caller
from ssljax.serve.engine import StoppedError
from ssljax.serve.inside import PATIENCE, Ask, ask
from ssljax.serve.jobs_folder import Jobs, JobsFolder, Json
from ssljax.serve.parts import in_parts, workplace
from ssljax.serve.served import Served

PART = 64                          # requests between two renames
AT_ONCE = 64                       # requests that wait for room at most
LOOK = 0.005                       # seconds between two looks for room
ALIVE = ("validating", "in_progress", "finalizing", "cancelling")
EVERYTHING = Caller(admin=True)

Room = Callable[[Any], bool]       # (model's name) -> whether a request of low priority may start


def start_batches(app: ASGIApp, offered: Jobs, served: Callable[[], Sequence[Served]],
                  *, knows: Callable[[str], bool] = lambda owner: True,
                  part: int = PART) -> Callable[[], None]:
    """Start the thread; batches that an earlier server left are resumed, the oldest first.

    Args:
        app: what answers.
        offered: where files and batches are, and how the thread is told of new ones.
        served: () -> what is loaded, to see whether there is room.
        knows: (owner of a batch) -> whether that key is good still.
        part: requests between two renames.

    Returns:
        close: stop; parts that are not complete wait for the next start.
    """
    (jobs, events), stopping = offered, threading.Event()

    def has_room(owner: str, name: Any) -> bool:
        if stopping.is_set():
            raise StoppedError("The server ends; the batch goes on when it is back.")
        if not knows(owner):
            raise RequestError(f"Key {owner}, which asked for this batch, was revoked.",
                               code="key_revoked")
        return room(served(), name)

    def work() -> None:
        while not stopping.is_set():
            left = [b for b in jobs.batches(EVERYTHING) if b["status"] in ALIVE]
            if not left:
                with contextlib.suppress(queue.Empty):
                    events.get(timeout=60)
                continue
            run_batch(app, jobs, left[-1], partial(has_room, left[-1]["owner"]), part)

    thread = threading.Thread(target=work, name="ssljax-batches", daemon=True)
    thread.start()

    def close() -> None:
        stopping.set()
        events.put(None)
        thread.join()

    return close


def room(served: Sequence[Served], name: Any) -> bool:
    """Say whether a request of low priority may start on the model of this name."""
    for one in served:
        if name in (None, one.name, f"{one.name}@{one.version}"):
            for load in (each.load() for each in (one.engine, one.encoding) if each is not None):
                if load.waiting or load.busy >= max(1, load.slots - 1):
                    return False
    return True                          # also for a name that is not served: it is told so


def run_batch(app: ASGIApp, jobs: JobsFolder, batch: Json, has_room: Room, part: int) -> None:
    """Bring a batch to its end; StoppedError of `has_room` leaves it where it is."""
    try:
        _, source = jobs.file(batch["input_file_id"], EVERYTHING)
        place = jobs.folder / "batches" / f"{batch['id']}.json"
        if batch["status"] == "validating":
            batch = validate(jobs, batch, source)
        if batch["status"] == "failed":
            return
        with workplace(place, {"batch": batch["id"], "part": part}) as folder:
            asyncio.run(answer_parts(app, jobs, batch, source, folder, has_room, part))
            publish(jobs, batch["id"], sorted(folder.glob("*.jsonl")))
            shutil.rmtree(folder)
    except StoppedError as err:
        logging.info("Batch %s: %s", batch["id"], err)
    except (RequestError, DataError, OSError) as err:
        logging.error("Batch %s failed: %s", batch["id"], err)
        code = getattr(err, "code", None) or "batch_failed"
        fail(jobs, batch["id"], [LineError(0, str(err), code=code)])


def validate(jobs: JobsFolder, batch: Json, source: Path) -> Json:
    """Check every line of a new batch; return it running, cancelling or failed."""
    with source.open("rb") as lines:
        total, errors = check_lines(lines, batch["endpoint"])
    if errors:
        return fail(jobs, batch["id"], errors)

    def begin(now: Json) -> Json:
        counts = {"total": total, "completed": 0, "failed": 0}
        if now["status"] == "cancelling":
            return now | {"request_counts": counts}
        return now | {"status": "in_progress", "in_progress_at": int(time.time()),
                      "request_counts": counts}

    return jobs.change(batch["id"], begin)


def fail(jobs: JobsFolder, identity: str, errors: Sequence[LineError]) -> Json:
    """End a batch with what is wrong with it."""
    return jobs.change(identity, lambda now: now | {
        "status": "failed", "failed_at": int(time.time()),
        "errors": {"object": "list", "data": [error._asdict() for error in errors]}})


async def answer_parts(app: ASGIApp, jobs: JobsFolder, batch: Json, source: Path, folder: Path,
                       has_room: Room, part: int) -> None:
    """Write the parts that are absent, until all are there or the batch is cancelled."""
    counts = {"completed": 0, "failed": 0}
    with source.open("rb") as lines:
        for number, rows in enumerate(in_parts(read_lines(lines), part)):
            path = folder / f"{number:08d}.jsonl"
            if not path.exists():
                if jobs.batch(batch["id"], EVERYTHING)["status"] == "cancelling":
                    return
                answers = await answer_all(app, [ask_of(batch, *row) for row in rows], has_room)
                write_atomic(path, "".join(f"{json.dumps(line)}\n" for line in answers).encode())
            for line in path.read_bytes().splitlines():
                counts["completed" if is_good(line) else "failed"] += 1
            jobs.change(batch["id"], lambda now: now | {
                "request_counts": now["request_counts"] | counts})


def ask_of(batch: Json, number: int, text: bytes) -> tuple[Ask, str]:
    """Return the request of a line, and the client's name for it."""
    line = parse_line(number, text, batch["endpoint"])
    assert isinstance(line, Line)        # validated when the batch began
    caller = Caller(f"batch {batch['owner']}", models=frozenset(batch["models"])
                    if batch["models"] is not None else None)
    return Ask(f"{batch['id']}-{number:07d}", line.url, line.body, caller,
               batch["created_at"]), line.custom_id


async def answer_all(app: ASGIApp, asks: Sequence[tuple[Ask, str]],
                     has_room: Room | None) -> list[Json]:
    """Return the answers, in the order of the requests.

    Args:
        app: what answers.
        asks: requests, each with the client's name for it.
        has_room: a request starts when it says so; None for all that the queue takes, at once.
    """
    turn, places = asyncio.Lock(), asyncio.Semaphore(AT_ONCE)
    patience = PATIENCE if has_room else math.inf        # a job of its own holds up nobody else

    async def one(request: Ask, custom_id: str) -> Json:
        async with places:
            if has_room is not None:
                await wait_for_room(turn, has_room, request)
            return answer_line(request.name, custom_id,
                               *await ask(app, request, patience=patience))

    return list(await asyncio.gather(*(one(*each) for each in asks)))


async def wait_for_room(turn: asyncio.Lock, has_room: Room, request: Ask) -> None:
    """Return when there is room, one request after the other."""
    async with turn:
        await asyncio.sleep(LOOK)        # the load must have seen the one before
        while not has_room(request.body.get("model")):
            await asyncio.sleep(LOOK)


def publish(jobs: JobsFolder, identity: str, parts: Sequence[Path]) -> None:
    """Make the answers files of the batch's owner, the failures apart, and end the batch."""
    batch, made = jobs.batch(identity, EVERYTHING), {}
    for field, good in (("output_file_id", True), ("error_file_id", False)):
        path = jobs.folder / "incoming" / f"{identity}-{field}"
        with path.open("wb") as file:
            file.writelines(line for part in parts for line in lines_of(part) if
                            is_good(line) == good)
        if path.stat().st_size:          # the id is the batch's: a second try makes no second file
            name = "file-" + identity.removeprefix("batch-")[:-1] + str(int(good))
            made[field] = jobs.add_file(path, f"{identity}_{'output' if good else 'error'}.jsonl",
                                        "batch_output", batch["owner"], name)["id"]
        else:
            path.unlink()

    def end(now: Json) -> Json:
        status = "cancelled" if now["status"] == "cancelling" else "completed"
        return now | made | {"status": status, f"{status}_at": int(time.time())}

    jobs.change(identity, end)


def lines_of(part: Path) -> Iterator[bytes]:
    """Yield the lines of a part."""
    with part.open("rb") as lines:
        yield from lines


def is_good(line: bytes) -> bool:
    """Say whether a line of output is an answer rather than an error."""
    return json.loads(line)["response"]["status_code"] == 200
