"""The text of PDF files by pypdfium2 (https://github.com/pypdfium2-team/pypdfium2): a page a line.

Reads a file of at most MAX_BYTES; yields one record of "text", pages apart by a form feed. PDFium
is C++ and may crash or hang on hostile files: steps call `pdf_text` in a child with limits
(data_pipelines/raw_rows.py). Errors: "bad_pdf", "encrypted", "no_text" (scans), "too_large".
"""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from data_pipelines.readers import whole
from data_pipelines.readers.record import MAX_BYTES, Raw, failed
from ssljax.core.errors import UnreadableRecordError

MAX_PAGES = 2000
MAX_CHARACTERS = 20_000_000


def read(source: str | Path | BinaryIO, *, max_bytes: int = MAX_BYTES,
         max_pages: int = MAX_PAGES) -> Iterator[Raw]:
    """Yield the text of a PDF file."""
    for record in whole.read(source, max_bytes=max_bytes):
        if record.error:
            yield record
            continue
        try:
            pages = pdf_text(record.payload, max_pages)
            yield record._replace(payload=pages, kind="text", fields={"from": "pdf"})
        except UnreadableRecordError as err:
            yield failed(record.source, 0, 0, err.reason, err)


def pdf_text(data: bytes, max_pages: int = MAX_PAGES) -> str:
    r"""Return the text of a PDF's pages, "\f" between them.

    Raises:
        UnreadableRecordError: "bad_pdf", "encrypted", "too_large", "no_text".
    """
    import pypdfium2 as pdfium  # 7 MiB of library that other formats do without
    try:
        document = pdfium.PdfDocument(data)
    except pdfium.PdfiumError as err:
        reason = "encrypted" if "password" in str(err).lower() else "bad_pdf"
        raise UnreadableRecordError(str(err), reason) from err
    try:
        if len(document) > max_pages:
            raise UnreadableRecordError(f"{len(document)} pages; at most {max_pages}", "too_large")
        pages, total = [], 0
        for page in document:
            pages.append(page.get_textpage().get_text_range().replace("\r\n", "\n"))
            page.close()
            total += len(pages[-1])
            if total > MAX_CHARACTERS:
                raise UnreadableRecordError(f"over {MAX_CHARACTERS:,} characters", "too_large")
    except pdfium.PdfiumError as err:
        raise UnreadableRecordError(str(err), "bad_pdf") from err
    finally:
        document.close()
    if not total:
        raise UnreadableRecordError("no text on any page; a scan?", "no_text")
    return "\f".join(pages)
