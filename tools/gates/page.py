"""docs/results.md: tables that tools write between marks of their own."""

import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/results.md"


def write_between(name: str, text: str) -> None:
    """Replace what stands between the marks of `name`; the marks stay."""
    first, last = (f"<!-- {name}: {end} -->" for end in ("begin", "end"))
    page = PAGE.read_text()
    before, _, rest = page.partition(first)
    _, _, after = rest.partition(last)
    PAGE.write_text(f"{before}{first}\n{text}\n{last}{after}")
