"""Sizes that an engine has from its start: slots, chunks, pages, buckets. Plain numbers.

They decide the shapes of what is computed, and so the last bits of every answer
(serve/fingerprint.py).
"""

from collections.abc import Sequence
from typing import NamedTuple

from ssljax.core.errors import ServeError

PAGE = 64              # tokens; on CPUs attention takes a turn of a loop for each page
CHUNK = 128            # tokens; products of 128 rows run at a CPU's full speed, of 16 at 3/4 of it
SMALLEST_BUCKET = 32   # a shorter chunk costs about as much, and each bucket a compile
STEPS = 8              # beyond, what a dispatch costs is lost in the noise, and texts come in jerks


class Layout(NamedTuple):
    """Sizes of one engine.

    slots:   requests that decode together
    context: tokens of a prompt and its answer
    page:    tokens of a page
    pages:   that requests share; page 0, nobody's, is besides
    chunk:   tokens of a prompt that are read at once
    buckets: lengths that a chunk is padded to
    rows:    numbers of rows that decoding is compiled for; one promises the same numbers at any
             load, several compute fewer idle rows
    steps:   tokens of a row in one dispatch, at most
    guesses: next tokens of a row that are guessed, and judged all at once; 0 decodes one by one
    """

    slots: int
    context: int
    page: int
    pages: int
    chunk: int
    buckets: tuple[int, ...]
    rows: tuple[int, ...]
    steps: int
    guesses: int = 0

    @property
    def table(self) -> int:
        """Pages of the longest row, N."""
        return -(-self.context // self.page)


def make_layout(slots: int, context: int, *, page: int = PAGE, chunk: int = CHUNK,
                cache_tokens: int = 0, steps: int = STEPS, guesses: int = 0,
                adaptive: bool = False) -> Layout:
    """Return the sizes of an engine.

    Args:
        slots: requests that decode together.
        context: tokens of a prompt and its answer, at most.
        page: tokens of a page.
        chunk: tokens of a chunk, pages of a power of two.
        cache_tokens: that all requests together may hold; half of what all slots full would need
            unless told, since few requests are as long as the context. At least one context.
        steps: tokens of a row in one dispatch, at most.
        guesses: next tokens of a row that are looked up in its text and judged all at once, which
            pays where texts repeat themselves or their prompts. A dispatch is then one step.
        adaptive: decode as many rows as are busy, up to powers of two, without the promise that
            numbers do not depend on the load.

    Raises:
        ServeError: a size is out of bounds, or they do not fit each other.
    """
    if min(slots, context, page, steps) < 1 or guesses < 0:
        raise ServeError(f"slots {slots}, context {context}, page {page}, steps {steps}, guesses "
                         f"{guesses}: expected at least 1 of each, and 0 guesses or more.")
    if chunk < page or chunk % page or (chunk & (chunk - 1)):
        raise ServeError(f"chunk {chunk} with pages of {page} tokens; expected a power of two that "
                         "is a multiple of page.")
    most = -(-context // page)
    pages = -(-cache_tokens // page) or -(-slots * most // 2)
    if cache_tokens and pages < most:
        raise ServeError(f"cache_tokens {cache_tokens} hold less than one context of {context} "
                         f"tokens; expected at least {most * page}.")
    powers_of_rows = tuple(sorted({min(2 ** i, slots) for i in range(slots.bit_length() + 1)}))
    return Layout(slots, context, page, max(pages, most), chunk,
                  powers(chunk, smallest=min(SMALLEST_BUCKET, chunk)),
                  powers_of_rows if adaptive else (slots,), steps, guesses)


def powers(longest: int, *, smallest: int = SMALLEST_BUCKET) -> tuple[int, ...]:
    """Return the powers of two from `smallest`, and `longest` itself in the last one's place."""
    found = [smallest]
    while found[-1] < longest:
        found.append(2 * found[-1])
    return (*found[:-1], longest)


def spans(length: int, chunk: int, start: int = 0) -> Sequence[tuple[int, int]]:
    """Return (start, stop) of the chunks of a prompt of `length` tokens, from chunk `start` on."""
    return [(at, min(at + chunk, length)) for at in range(start * chunk, length, chunk)]


def pages_of(tokens: int, layout: Layout) -> int:
    """Return how many pages a row of `tokens` takes."""
    return min(-(-tokens // layout.page), layout.table)


def bucket_of(rows: int, layout: Layout) -> int:
    """Return how many rows are decoded where `rows` are busy."""
    return next(n for n in layout.rows if n >= rows)


def steps_of(last: int, layout: Layout, *, reading: bool, waiting: bool,
             left: Sequence[int]) -> int:
    """Return how many tokens to decode before the host is asked again.

    Args:
        last: how many it were the last time.
        layout: for the most.
        reading: whether a prompt is being read; its next chunk is not to wait.
        waiting: whether a request waits for a slot; none is to be idle meanwhile, as far as known.
        left: tokens that the busy rows may still generate.
    """
    if reading:
        return 1
    return max(1, min(2 * last, layout.steps, min(left) if waiting else max(left)))
