"""Which pages of the cache are whose: taken and freed, shared where prompts begin alike.

Page numbers and hashes only; the arrays are the device's. A request takes all the pages that it may
need when it starts, so none that runs ever waits for memory, or is thrown out and computed again in
another shape, which would change its numbers.

The prefix cache: whole chunks of a prompt, as they were read, are kept under a hash of all tokens
up to their end (as blocks in vLLM, https://docs.vllm.ai/en/latest/design/prefix_caching.html). A
prompt that begins with them does not read them again. Only what prefill computed is kept, never
what decoding did: the same tokens in the same chunks give the same bits, so a hit equals a miss.
Chunks that nobody uses stay until their pages are wanted, and the longest unused go first.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

Key = bytes


class Held(NamedTuple):
    """The pages of one request.

    table: page numbers in the order of its tokens
    keys:  of its prompt's whole chunks
    hits:  chunks that were there already: they are not to be read again
    """

    table: tuple[int, ...]
    keys: tuple[Key, ...]
    hits: int


class PageCounts(NamedTuple):
    """Pages in all, those in use and those that only the prefix cache keeps; chunks asked, found.

    asked and found count whole chunks of prompts since the start.
    """

    pages: int
    used: int
    kept: int
    asked: int
    found: int


class Pages(NamedTuple):
    """The pages of one cache; not thread-safe.

    take:   (keys of the prompt's chunks that may be shared, pages in all) -> Held, or None where
            that many are not to be had now
    keep:   (held, chunk's number) -> None; that chunk has been read, others may share it
    free:   (held) -> None
    forget: () -> None; the cache's contents are gone. What is held stays held
    counts: () -> PageCounts
    """

    take: Callable[[Sequence[Key], int], Held | None]
    keep: Callable[[Held, int], None]
    free: Callable[[Held], None]
    forget: Callable[[], None]
    counts: Callable[[], PageCounts]


def make_pages(first: int, count: int, *, per_chunk: int) -> Pages:
    """Return `count` free pages, numbered from `first`.

    Args:
        first: number of the first page.
        count: pages.
        per_chunk: pages of a chunk.
    """
    free = list(range(first + count - 1, first - 1, -1))
    users: dict[int, int] = {}                          # page -> requests that hold it
    known: dict[Key, tuple[int, ...]] = {}              # chunk -> its pages
    idle: OrderedDict[Key, None] = OrderedDict()        # chunks that nobody holds, oldest first
    owner: dict[int, Key] = {}                          # page of a known chunk -> its key
    asked = found = 0

    def take(keys: Sequence[Key], wanted: int) -> Held | None:
        nonlocal asked, found
        hits = next((i for i, key in enumerate(keys) if key not in known), len(keys))
        shared = [page for key in keys[:hits] for page in known[key]]
        spare = sum(len(known[key]) for key in idle.keys() - set(keys[:hits]))
        if wanted - len(shared) > len(free) + spare:
            return None
        asked, found = asked + len(keys), found + hits
        for key in keys[:hits]:
            idle.pop(key, None)
        while len(free) < wanted - len(shared):
            forget_one(next(iter(idle)))
        table = (*shared, *(free.pop() for _ in range(wanted - len(shared))))
        for page in table:
            users[page] = users.get(page, 0) + 1
        return Held(table, tuple(keys), hits)

    def keep(held: Held, chunk: int) -> None:
        pages = held.table[chunk * per_chunk:(chunk + 1) * per_chunk]
        if held.keys[chunk] not in known:                # else another request was quicker
            known[held.keys[chunk]] = pages
            owner.update(dict.fromkeys(pages, held.keys[chunk]))

    def release(held: Held) -> None:
        # From the end, so that of a long prompt the beginning, which more share, stays longest.
        for page in reversed(held.table):
            users[page] -= 1
            if users[page]:
                continue
            del users[page]
            if page in owner:
                idle[owner[page]] = None
            else:
                free.append(page)

    def forget_one(key: Key) -> None:
        pages = known.pop(key)
        for page in pages:
            del owner[page]
        if key in idle:
            del idle[key]
            free.extend(pages)

    def forget() -> None:
        for key in list(known):
            forget_one(key)

    def counts() -> PageCounts:
        return PageCounts(count, len(users), sum(len(known[key]) for key in idle), asked, found)

    return Pages(take, keep, release, forget, counts)


def prefix_keys(prompt: Sequence[int], chunk: int, root: str) -> list[Key]:
    """Return the keys of a prompt's whole chunks, each of all tokens up to its end.

    Args:
        prompt: ids.
        chunk: tokens of a chunk.
        root: says which model and adapter read them; other roots never share.
    """
    # The last token is always read again: its logits are what the first answer is drawn from.
    whole = (len(prompt) - 1) // chunk
    tokens = np.asarray(prompt[:whole * chunk], np.int64).reshape(whole, chunk)
    keys, before = [], hashlib.sha256(root.encode()).digest()
    for row in tokens:
        before = hashlib.sha256(before + row.tobytes()).digest()
        keys.append(before)
    return keys
