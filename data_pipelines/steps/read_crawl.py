"""A list of URLs, fetched politely into WARC files that stay, becomes documents.

The input is a file of one URL a line. Every URL is a row: a page, or the reason why there is none
("robots", "private_address", "timeout", "http_status", ... data_pipelines/readers/crawl.py). What
was fetched is not fetched again: each batch of a host's URLs is a WARC file and a file of outcomes,
the latter written last, and the next run goes on with what is missing. Returns the table of
documents.
"""

import functools
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pyarrow as pa

from data_pipelines.limits import Child
from data_pipelines.limits import Limits as PageLimits
from data_pipelines.listing import SCHEMA, Listing, stat
from data_pipelines.readers import crawl
from data_pipelines.source import Source
from data_pipelines.steps.read_files import Row, read_crawled, tables
from data_pipelines.table import column
from ssljax.core.errors import ConfigError, DataError
from ssljax.core.files import write_json
from ssljax.core.rng import hash64

BATCH = 100                    # URLs whose responses are held until they are written


def make(*, folder: str, agent: str = "ssljax-crawl", delay: float = 1.0, timeout: float = 20.0,
         max_bytes: int = 16 << 20, private: bool = False, hosts: int = 8,
         page_seconds: float = 5.0, input: str = "", licence: str = "unknown") -> Source:
    """Return the source.

    Args:
        folder: of the WARC files; made where it is absent.
        agent: how the crawler calls itself; say whom to write to.
        delay: least seconds between two requests to a host.
        timeout: most seconds of one fetch.
        max_bytes: largest body.
        private: whether addresses that are not public are called.
        hosts: visited at once.
        page_seconds: of CPU that the extraction of one page may take.
        input: file of URLs.
        licence: of the documents.

    Raises:
        ConfigError: no folder or no file of URLs was named.
    """
    if not folder or not input:
        raise ConfigError(f"read_crawl: folder {folder!r}, input {input!r}; expected a folder for "
                          "the WARC files, and --input FILE of one URL a line.")
    polite = crawl.Limits(agent, delay, timeout, max_bytes, private=private)

    def read(files: pa.Table) -> Iterator[pa.Table]:
        children: list[Child] = []
        try:
            yield from tables({"licence": licence, **row} for source in column(files, "source")
                              for row in rows(folder, source, PageLimits(page_seconds), children))
        finally:
            for child in children:
                child.stop()

    return Source(functools.partial(fetch, input, Path(folder), polite, hosts), read)


def fetch(urls: str, folder: Path, polite: crawl.Limits, hosts: int,
          without: Sequence[str]) -> Listing:
    """Fetch what is not there yet; list the outcomes of this list's batches.

    Raises:
        DataError: the list cannot be read, or is empty.
    """
    del without
    try:
        lines = Path(urls).read_text("utf-8", errors="replace").split("\n")
    except OSError as err:
        raise DataError(f"The list of URLs {urls} cannot be read: {err.strerror}.") from err
    wanted = list(dict.fromkeys(u for line in lines if (u := line.strip()) and u[0] != "#"))
    if not wanted:
        raise DataError(f"{urls} names no URL; expected one a line.")
    batches = [b for host in by_host(wanted).values() for b in host]
    folder.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(hosts) as pool:
        # A host's batches follow each other: two at once would be two visitors.
        list(pool.map(lambda host: [fetch_batch(b, folder, polite) for b in host],
                      by_host(wanted).values()))
    rows = [{"source": f"{name(b)}.json", **stat(folder / f"{name(b)}.json")} for b in batches]
    # Fetched when it was fetched: the time of a file says nothing of what is in it.
    rows = [{**r, "mtime_ns": 0} for r in sorted(rows, key=lambda r: r["source"])]
    return Listing(pa.Table.from_pylist(rows, schema=SCHEMA), {})


def by_host(urls: Sequence[str]) -> dict[str, list[list[str]]]:
    """Return host -> its URLs in batches."""
    found: dict[str, list[str]] = {}
    for url in urls:
        found.setdefault(host_of(url), []).append(url)
    return {h: [some[i:i + BATCH] for i in range(0, len(some), BATCH)]
            for h, some in found.items()}


def host_of(url: str) -> str:
    """Return the host of a URL, "" for what is none."""
    try:
        return urlsplit(url).netloc.lower()
    except ValueError:
        return ""


def name(batch: Sequence[str]) -> str:
    """Return the name of a batch's files."""
    return f"{hash64('crawl', *batch):016x}"


def fetch_batch(batch: Sequence[str], folder: Path, polite: crawl.Limits) -> None:
    """Fetch one batch unless its outcomes are there."""
    if (folder / f"{name(batch)}.json").exists():
        return
    outcomes = crawl.crawl(batch, str(folder / f"{name(batch)}.warc.gz"), polite)
    write_json(folder / f"{name(batch)}.json", [o._asdict() for o in outcomes])


def rows(folder: str, source: str, limits: PageLimits, children: list[Child]) -> Iterator[Row]:
    """Yield the pages of a batch, then a dropped row for each URL without one."""
    archive = source.replace(".json", ".warc.gz")
    if Path(folder, archive).stat().st_size:
        yield from read_crawled(folder, [archive], limits, children)
    outcomes = json.loads(Path(folder, source).read_bytes())
    for number, outcome in enumerate(o for o in outcomes if o["reason"] != "fetched"):
        yield {"source": source, "row": number, "text": "", "url": outcome["url"],
               "dropped": outcome["reason"], "detail": outcome["detail"]}
