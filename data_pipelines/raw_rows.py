"""Raw records become rows of the table of documents: decoded, extracted, or dropped with a reason.

Pages and PDF files are read in a child process with hard limits (data_pipelines/limits.py).
Reasons beside those of the readers: "http_status" (other than 200), "timeout", "out_of_memory",
"crashed", "failed" (the extractor), "no_article", "no_text" (a record without text, such as an
image), "not_text" (NUL).
"""

import functools
import itertools
from collections.abc import Iterable, Iterator
from typing import Any

from data_pipelines.kernels.decode import decode
from data_pipelines.kernels.extract import extract
from data_pipelines.limits import Child, Failure, Limits, call, limited_map
from data_pipelines.readers.pdf import pdf_text
from data_pipelines.readers.record import Raw
from ssljax.core.errors import UnreadableRecordError

TEXT_KINDS = ("text", "markdown", "row")


def raw_rows(records: Iterable[Raw], *, limits: Limits, children: int = 1,
             kept: list[Child] | None = None) -> Iterator[dict]:
    """Yield the row of each record in order.

    Args:
        records: read a few ahead of what has been yielded.
        limits: of the extraction of one page.
        children: processes that extract; none is started before there is a page.
        kept: as `limited_map` has it.
    """
    own: list[Child] = [] if kept is None else kept
    try:
        # Rows of tables and plain text outnumber pages, and to hand one over costs as much as it.
        extract = functools.partial(pages, limits=limits, children=children, kept=own)
        for trap, some in itertools.groupby(records, is_page):
            yield from (extract if trap else plain_rows)(some)
    finally:
        for child in own if kept is None else ():
            child.stop()


def is_page(record: Raw) -> bool:
    """Say whether a record's text is had by a library that may hang or crash on it."""
    return not record.error and record.kind in ("html", "pdf")


def pages(records: Iterable[Raw], limits: Limits, children: int,
          kept: list[Child]) -> Iterator[dict]:
    """Yield the row of each page in order, extracted by children."""
    waiting: list[Raw] = []

    def noted() -> Iterator[Raw]:
        for record in records:
            waiting.append(record._replace(payload=b""))     # bounded: limited_map reads few ahead
            yield record

    for found in limited_map(raw_row, noted(), limits=limits, children=children, kept=kept):
        yield checked(waiting.pop(0), found)


def plain_rows(records: Iterable[Raw]) -> Iterator[dict]:
    """Yield the row of each record that is no page."""
    return (checked(record, call(raw_row, record)) for record in records)


def checked(record: Raw, found: dict[str, Any] | Failure) -> dict[str, Any]:
    """Return a row, that of a failure dropped."""
    return bad(record, found.reason, found.detail) if isinstance(found, Failure) else found


def raw_row(record: Raw) -> dict[str, Any]:
    """Return the row of one record."""
    if record.error:
        return bad(record, record.error, record.detail)
    status = record.fields.get("status", 200)
    if status != 200:                   # the page says that there is none
        return bad(record, "http_status", str(status))
    if record.kind == "html":
        page = decode(record.payload, record.fields.get("content_type", "")).text
        text = extract(page).text
        return row(record, text) if text else bad(record, "no_article", "")
    if record.kind == "pdf":
        try:
            return row(record, pdf_text(record.payload))
        except UnreadableRecordError as err:
            return bad(record, err.reason, str(err))
    if record.kind not in TEXT_KINDS:
        return bad(record, "no_text", record.kind)
    text = record_text(record)
    if text is None:
        return bad(record, "no_text", 'expected a string "text"')
    if "\0" in text:
        return bad(record, "not_text", f"NUL at character {text.index(chr(0))}")
    return row(record, text)


def record_text(record: Raw) -> str | None:
    """Return the text of a record that has one without extraction."""
    if isinstance(record.payload, bytes):
        return decode(record.payload, record.fields.get("content_type", "")).text
    text = record.payload if isinstance(record.payload, str) else record.payload.get("text")
    return text if isinstance(text, str) else None


def row(record: Raw, text: str) -> dict[str, Any]:
    """Return the row of a record's text, with its own licence and URL where it has them."""
    fields = record.payload if isinstance(record.payload, dict) else record.fields
    own = {"licence": fields.get("licence") or fields.get("license"), "url": fields.get("url")}
    return {**place(record), "text": encodable(text)} | {
        name: encodable(v) for name, v in own.items() if isinstance(v, str) and v}


def bad(record: Raw, reason: str, detail: str) -> dict[str, Any]:
    """Return a row that is dropped as it is read."""
    url = record.fields.get("url")
    return {**place(record), "text": "", "dropped": reason, "detail": encodable(detail)} | (
        {"url": encodable(url)} if isinstance(url, str) else {})


def place(record: Raw) -> dict[str, Any]:
    """Return where a record lies."""
    return {"source": encodable(record.source), "row": record.row,
            "offset": record.offset if record.offset >= 0 else None}


def encodable(text: str) -> str:
    """Return a string without lone surrogates, which JSON, PDF and names in archives may hold."""
    return text.encode("utf-8", "backslashreplace").decode()
