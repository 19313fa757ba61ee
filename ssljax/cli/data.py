"""`ssljax data`: versions of document tables, and where every row and token came from."""

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyiceberg.table import Table

EXAMPLES = """  ssljax data ls                              versions of every table below runs/data
  ssljax data show text                       the funnel of the current version, and samples
  ssljax data report runs/data/text --out report.html     the same as a page to look at
  ssljax data diff text 3f2a 9c1b             rows added and dropped, by reason
  ssljax data trace runs/data/text 1234567    a training token -> source file and byte
  ssljax data trace text --row 0123456789abcdef
  ssljax data tag text 3f2a golden            name a version
  ssljax data forget text --source a/b.txt    a version without a file's rows, and who saw them
  ssljax data rollback text golden            make an older version the current one

The catalog is the folder `catalog` beside the datasets; --catalog names another.
"""
ACTIONS = ("ls", "show", "report", "diff", "trace", "tag", "rollback", "forget")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("action", choices=ACTIONS)
    parser.add_argument("names", nargs="*", metavar="NAME",
                        help="table, then versions, a token index or a tag")
    parser.add_argument("--catalog", type=Path, default=Path("runs/data/catalog"), metavar="DIR")
    parser.add_argument("--row", action="append", default=[], metavar="ID",
                        help="trace, forget: the id of a row")
    parser.add_argument("--source", action="append", default=[], metavar="FILE",
                        help="forget: a file of the input, as rows name it")
    parser.add_argument("--below", type=Path, default=Path("runs"), metavar="DIR",
                        help="forget: where to look for shard sets, runs and artefacts")
    parser.add_argument("--split", default="train", help="trace: of the token")
    parser.add_argument("--input", type=Path, help="trace: folder of the raw input")
    parser.add_argument("--samples", type=int, default=3,
                        help="show, diff, report: rows of each reason")
    parser.add_argument("--out", type=Path, default=Path("report.html"), metavar="FILE",
                        help="report: the page")
    parser.add_argument("--seed", type=int, default=0, help="report: of the samples")


def run(args: argparse.Namespace) -> None:
    """Do one action and print what it found."""
    from ssljax.core.errors import ConfigError

    actions = {"ls": (list_versions, 0), "show": (show, 1), "report": (report, 0),
               "diff": (diff, 3), "trace": (trace, 1), "tag": (tag, 3),
               "rollback": (rollback, 2), "forget": (forget, 1)}
    action, needed = actions[args.action]
    if len(args.names) < needed:
        raise ConfigError(f"data {args.action} needs {needed} names, got {len(args.names)}; see "
                          "ssljax data --help.")
    action(args)


def table_of(args: argparse.Namespace, name: str) -> "Table":
    """Return a table of the catalog."""
    from data_pipelines.snapshots.catalog import load_table, open_catalog
    return load_table(existing(args.catalog, open_catalog), name)


def existing(folder: Path, opener: Any) -> Any:
    """Return the catalog in `folder`.

    Raises:
        DataError: there is none.
    """
    from ssljax.core.errors import DataError
    if not folder.is_dir():
        raise DataError(f"No catalog at {folder}; `ssljax curate` makes one beside its output. "
                        "Name it with --catalog DIR.")
    return opener(folder)


def list_versions(args: argparse.Namespace) -> None:
    """Print every version of every table, or of one."""
    from data_pipelines.snapshots.catalog import NAMESPACE, open_catalog
    from data_pipelines.snapshots.versions import versions
    catalog = existing(args.catalog, open_catalog)
    for name in args.names or [t[-1] for t in catalog.list_tables(NAMESPACE)]:
        table = table_of(args, name)
        current = table.current_snapshot()
        for v in versions(table):
            mark = "*" if current and v.snapshot == current.snapshot_id else " "
            when = time.strftime("%Y-%m-%d %H:%M", time.localtime(v.time_ms / 1000))
            tags = " ".join(t for t in v.tags if t not in ("main", f"v{v.name}"))
            print(f"{mark} {name}  {v.name}  {when}  {v.properties.get('added-records', '?')} rows"
                  f"  {tags}".rstrip())


def show(args: argparse.Namespace) -> None:
    """Print a version's funnel by step and reason, samples of each, and what steps measured."""
    from data_pipelines.snapshots.versions import find_version, funnel, reports_of
    table = table_of(args, args.names[0])
    version = find_version(table, args.names[1] if len(args.names) > 1 else "")
    counted = funnel(table, version)
    samples = first_rows(table, version, args.samples)
    print(f"{args.names[0]} {version.name}: {sum(n for _, _, n in counted):,} rows")
    for step, reason, count in counted:
        print(f"{count:>12,}  {step or 'kept':<20} {reason}")
        for row in samples.get((step, reason), []):
            print(f"{'':14}{row['id']} {row['source']}:{row['row']} {row['detail'] or ''}".rstrip())
    for report in reports_of(version):
        found = ", ".join(f"{edit} {recall['all']:.1%}"
                          for edit, recall in report.get("recall", {}).items())
        print(f"{report['step']}: of {report.get('planted', 0):,} planted items it finds "
              f"{found or 'none'}; by set in `ssljax data report`.")


def report(args: argparse.Namespace) -> None:
    """Write the page of a version: of a dataset's, or of a table's."""
    from data_pipelines.report.figures import collect
    from data_pipelines.report.page import page
    from data_pipelines.snapshots.versions import find_version
    from ssljax.core.files import write_atomic
    name, version = named_version(args)
    table = table_of(args, name)
    figures = collect(table, name, find_version(table, version), samples=args.samples,
                      seed=args.seed)
    write_atomic(args.out, page(figures).encode())
    print(f"{args.out}: {name} {figures.version.name}, {figures.account.kept:,} of "
          f"{figures.account.read:,} rows kept")


def named_version(args: argparse.Namespace) -> tuple[str, str]:
    """Return the table and version that are meant by a dataset, a table or a version.

    Raises:
        ConfigError: nothing is named, and the catalog has not just one table.
        DataError: no table has such a version.
    """
    from data_pipelines.snapshots.catalog import NAMESPACE, open_catalog
    from data_pipelines.snapshots.versions import find_version
    from ssljax.core.errors import ConfigError, DataError
    from ssljax.sources.manifest import NAME, read_manifest
    name = args.names[0] if args.names else ""
    if name and Path(name, NAME).is_file():
        args.catalog = Path(name).absolute().parent / "catalog"
        parent = read_manifest(name).parents[0]
        return parent["table"], parent["version"]
    tables = [t[-1] for t in existing(args.catalog, open_catalog).list_tables(NAMESPACE)]
    if not name:
        if len(tables) != 1:
            raise ConfigError(f"data report needs a dataset or a table; this catalog has "
                              f"{', '.join(tables) or 'none'}.")
        return tables[0], ""
    if name in tables or len(args.names) > 1:
        return name, args.names[1] if len(args.names) > 1 else ""
    for table in tables:
        try:
            return table, find_version(table_of(args, table), name).name
        except DataError:
            continue
    raise DataError(f"{name} is no dataset, and neither a table nor a version of the catalog "
                    f"{args.catalog}, which has the tables {', '.join(tables)}.")


def first_rows(table: "Table", version: Any, count: int) -> dict[tuple[str, str], list[Any]]:
    """Return the first rows of each step and reason, without their texts."""
    from data_pipelines.snapshots.versions import batches
    found: dict[tuple[str, str], list[Any]] = {}
    for rows in batches(table, version, ["id", "source", "row", "dropped", "detail", "step"]):
        for row in rows.to_pylist() if count else []:
            own = found.setdefault((row["step"] or "", row["dropped"] or ""), [])
            if len(own) < count:
                own.append(row)
    return found


def diff(args: argparse.Namespace) -> None:
    """Print how two versions differ, by reason."""
    from data_pipelines.snapshots.versions import diff as compare
    from data_pipelines.snapshots.versions import find_version
    table = table_of(args, args.names[0])
    found = compare(table, *(find_version(table, n) for n in args.names[1:3]), args.samples)
    for kind, reasons in sorted(found.counts.items()):
        for reason, count in sorted(reasons.items(), key=lambda item: -item[1]):
            print(f"{count:>12,}  {kind:<8} {reason}".rstrip())
            for row_id, source, row in found.examples[kind][reason]:
                print(f"{'':14}{row_id} {source}:{row}")
    if not found.counts:
        print("The same rows are kept.")


def trace(args: argparse.Namespace) -> None:
    """Print the lineage of a row, or of a token of a dataset."""
    from data_pipelines.snapshots.trace import byte_offset, trace_row, trace_token
    from ssljax.core.errors import ConfigError
    from ssljax.sources.manifest import read_manifest
    if args.row:
        row = trace_row(table_of(args, args.names[0]), "", args.row[0])
        folder = args.input
    elif len(args.names) > 1 and args.names[1].isdigit():
        dataset = Path(args.names[0])
        manifest = read_manifest(dataset)
        row = trace_token(dataset, args.split, int(args.names[1]))
        parent = manifest.parents[0]
        folder = args.input or Path(parent["path"])
        if "version" in parent:
            args.catalog = dataset.absolute().parent / "catalog"
            table = table_of(args, parent["table"])
            row = {**row, **trace_row(table, parent["version"], row["id"])}
    else:
        raise ConfigError("data trace needs a dataset and a token's index, or a table and "
                          "--row ID.")
    if folder is not None:
        row["byte"] = byte_offset(folder, row)
    for name, value in row.items():
        if name == "steps":
            for step in value:
                said = {**step["parameters"], **step["scores"]}
                print("step        ", step["name"], step["version"],
                      *(f"{k}={v}" for k, v in said.items()))
        elif value is not None:
            print(f"{name:<12} {str(value)[:200]!r}" if name == "text" else f"{name:<12} {value}")


def tag(args: argparse.Namespace) -> None:
    """Name a version."""
    from data_pipelines.snapshots.versions import add_tag
    add_tag(table_of(args, args.names[0]), args.names[1], args.names[2])


def rollback(args: argparse.Namespace) -> None:
    """Make an older version the current one."""
    from data_pipelines.snapshots.versions import rollback as roll
    found = roll(table_of(args, args.names[0]), args.names[1])
    print(f"{args.names[0]} is at {found.name}; newer versions stay by their names.")


def forget(args: argparse.Namespace) -> None:
    """Make a version without some rows; print every dataset, run and artefact that saw them."""
    from data_pipelines.snapshots import forget as forgetting
    found = forgetting.forget(table_of(args, args.names[0]), sources=args.source, rows=args.row)
    print(f"{found.rows:,} rows are not in {found.version}, the current version of "
          f"{args.names[0]}.\nversions with them: {', '.join(found.seen_by)}")
    datasets = forgetting.shard_sets(args.below, found.seen_by)
    for folder in datasets:
        print(f"shard set {folder}")
    for folder in forgetting.users(args.below, datasets):
        print(f"saw it    {folder}")
