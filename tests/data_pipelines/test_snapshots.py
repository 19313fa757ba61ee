"""Versions: every row is in them, they differ by reasons, and tokens lead back to bytes."""

import json
import multiprocessing
from pathlib import Path

import numpy as np
import pytest

from data_pipelines.run import Sizes, curate
from data_pipelines.snapshots import trace, versions
from data_pipelines.snapshots.catalog import embedded, load_table, open_catalog
from data_pipelines.snapshots.forget import forget
from ssljax.cli import data as verb
from ssljax.cli.main import main
from ssljax.core.errors import DataError
from ssljax.sources import token_shards
from ssljax.sources.manifest import read_manifest


@pytest.fixture
def opened(tmp_path):
    catalogs = []

    def open_table(name="text"):
        catalogs.append(open_catalog(tmp_path / "catalog"))
        return load_table(catalogs[-1], name)

    yield open_table
    for catalog in catalogs:
        catalog.close()


def test_a_version_holds_every_row_and_the_manifest_names_it(recipe, corpus, opened, prose):
    corpus[1]("short.txt", "Too short.")
    corpus[1]("copy.txt", prose(3))
    manifest = curate(recipe(), sizes=Sizes(9000, 12000, 6000))
    table = opened()
    found = versions.find_version(table, manifest.parents[0]["version"])
    assert found.name == manifest.version and found.tags == ("main", f"v{manifest.version}")
    assert versions.funnel(table, found) == [
        ("", "", 60), ("exact_duplicates", "exact_duplicate", 1), ("quality", "too_short", 1)]
    rows = versions.scan(table, found, [f.name for f in table.schema().fields])
    assert rows["number"].to_pylist() == list(range(62))
    texts = dict(zip(rows["source"].to_pylist(), rows["text"].to_pylist(), strict=True))
    assert texts["short.txt"] == "Too short." and texts["copy.txt"] == prose(3)


def test_versions_differ_by_rows_added_dropped_and_revived(recipe, corpus, opened, prose):
    corpus[1]("short.txt", prose(70, 30))
    first = curate(recipe(options={"quality": {"min_words": 40}}))
    (corpus[0] / "part0" / "0.txt").unlink()
    corpus[1]("new.txt", prose(71))
    corpus[1]("part1/1.txt", "Too short now.")
    second = curate(recipe(), existing="replace")
    table = opened()
    before, after = (versions.find_version(table, m.version) for m in (first, second))
    found = versions.diff(table, before, after)
    assert found.counts == {"added": {"": 1}, "removed": {"": 1}, "dropped": {"too_short": 1},
                            "revived": {"too_short": 1}}
    named = {k: {r: [s for _, s, _ in e] for r, e in v.items()} for k, v in found.examples.items()}
    assert named == {"added": {"": ["new.txt"]}, "removed": {"": ["part0/0.txt"]},
                     "dropped": {"too_short": ["part1/1.txt"]},
                     "revived": {"too_short": ["short.txt"]}}
    assert versions.diff(table, after, after).counts == {}


def test_committing_a_version_again_adds_nothing(recipe, tmp_path, opened):
    first = curate(recipe())
    count = len(opened().snapshots())
    assert curate(recipe(output=str(tmp_path / "again"))) == first
    assert len(opened().snapshots()) == count


def test_rollback_and_tags(recipe, opened, corpus, prose):
    first = curate(recipe())
    corpus[1]("new.txt", prose(71))
    second = curate(recipe(), existing="replace")
    versions.add_tag(opened(), first.version, "golden")
    assert versions.find_version(opened()).name == second.version
    versions.rollback(opened(), "golden")
    assert versions.find_version(opened()).name == first.version
    assert versions.find_version(opened(), second.version[:6]).name == second.version
    with pytest.raises(DataError, match='did you mean "golden"'):
        versions.find_version(opened(), "goldne")


def test_any_token_leads_back_to_its_text_in_the_raw_file(recipe, corpus, prose, tmp_path):
    rows = [{"text": prose(200 + i)} for i in range(30)]
    corpus[1]("rows.jsonl", "\n".join(map(json.dumps, rows)) + "\n")
    curate(recipe(tokenizer="byte"))
    source = token_shards.make(path=str(tmp_path / "out"), split="train")
    records = [r["tokens"] for r in source.read(np.arange(len(source)))]
    ends = np.cumsum([len(r) for r in records])
    kinds = set()
    for token in (0, 1, int(ends[0]) - 1, int(ends[0]), 12_345, 20_000, int(ends[-1]) - 1):
        row = trace.trace_token(tmp_path / "out", "train", token)
        record = int(np.searchsorted(ends, token, "right"))
        assert row["record"] == record
        assert row["token_in_record"] == token - (ends[record] - len(records[record]))
        raw = (corpus[0] / row["source"]).read_bytes()[trace.byte_offset(corpus[0], row):]
        if row["source"] == "rows.jsonl":
            raw = json.loads(raw.split(b"\n")[0])["text"].encode()
        assert raw == bytes(records[record].tolist())
        kinds.add(Path(row["source"]).suffix)
    assert kinds == {".txt", ".jsonl"}
    with pytest.raises(DataError, match="is not one"):
        trace.trace_token(tmp_path / "out", "train", int(ends[-1]))


def test_a_row_names_the_steps_that_judged_it(recipe, corpus, opened):
    corpus[1]("short.txt", "Too short.")
    curate(recipe())
    rows = versions.scan(opened(), versions.find_version(opened()), ["id", "source"]).to_pylist()
    row = trace.trace_row(opened(), "", next(r["id"] for r in rows if r["source"] == "short.txt"))
    assert (row["dropped"], row["detail"]) == ("too_short", "2 < 20")
    assert [s["name"] for s in row["steps"]] == ["read_files", "normalise", "quality"]
    assert row["steps"][-1]["parameters"]["min_words"] == 20
    assert row["steps"][1]["parameters"] == {} and len(row["steps"][1]["version"]) == 12


def test_a_row_has_the_scores_of_each_step_and_defaults_are_remembered(recipe, corpus, opened):
    corpus[1]("mail.txt", "Write to anna.smith@company.org today. " + (corpus[0] / "part0/0.txt")
              .read_text())
    curate(recipe(steps=[{"name": "read_files"}, {"name": "pii"}, {"name": "language"},
                         {"name": "split"}], options={}))
    rows = versions.scan(opened(), versions.find_version(opened()), ["id", "source"]).to_pylist()
    row = trace.trace_row(opened(), "", next(r["id"] for r in rows if r["source"] == "mail.txt"))
    read, pii, language, split = row["steps"]
    assert pii["scores"]["pii_email"] == 1 and set(language["scores"]) == {"language",
                                                                           "language_score"}
    assert read["scores"] == split["scores"] == {}
    assert pii["parameters"]["action"] == "redact" and pii["parameters"]["max_findings"] == -1
    assert split["parameters"]["validation_fraction"] == 0.2
    assert "input" not in read["parameters"]


def test_the_verb_lists_shows_compares_and_traces(recipe, corpus, tmp_path, capsys, prose):
    manifest = curate(recipe())
    catalog = ["--catalog", str(tmp_path / "catalog")]
    assert main(["data", "ls", *catalog]) == 0
    assert manifest.version in capsys.readouterr().out
    assert main(["data", "show", "text", *catalog]) == 0
    assert "60  kept" in capsys.readouterr().out
    assert main(["data", "trace", str(tmp_path / "out"), "100"]) == 0
    told = capsys.readouterr().out
    assert all(t in told for t in ("source       part", "byte         0", "step         quality"))
    assert main(["data", "ls", "--catalog", str(tmp_path / "none")]) == 1
    assert "No catalog at" in capsys.readouterr().err
    assert main(["data", "diff", "text", *catalog]) == 2


def test_the_verb_refuses_a_table_that_is_not_there(recipe, tmp_path, capsys):
    curate(recipe())
    assert main(["data", "show", "txt", "--catalog", str(tmp_path / "catalog")]) == 1
    assert 'did you mean "text"' in capsys.readouterr().err
    assert verb.ACTIONS and embedded(tmp_path)["type"] == "sql"
    assert read_manifest(tmp_path / "out").parents[0]["table"] == "text"


def test_forgetting_a_source_names_everything_that_saw_it(recipe, corpus, tmp_path, opened, capsys):
    first = curate(recipe())
    for name, content in (("run", {"source": {"path": str(tmp_path / "out")}}),
                          ("artefact", {"data": first.version}), ("other", {"source": "x"})):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "config.json").write_text(json.dumps(content))
    assert main(["data", "forget", "text", "--source", "part0/0.txt", "--catalog",
                 str(tmp_path / "catalog"), "--below", str(tmp_path)]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith("1 rows are not in") and told[1].endswith(first.version)
    assert told[2:] == [f"shard set {tmp_path}/out", f"saw it    {tmp_path}/runs/artefact",
                        f"saw it    {tmp_path}/runs/run"]
    table = opened()
    after = versions.find_version(table)
    found = versions.diff(table, versions.find_version(table, first.version), after)
    assert found.counts == {"removed": {"": 1}}
    assert "part0/0.txt" not in versions.scan(table, after, ["source"])["source"].to_pylist()
    with pytest.raises(DataError, match="No version of the table has a row"):
        forget(table, sources=["nowhere.txt"])


def commit_rows(folder, number, gate=None):
    """Commit a version of one row in a process of its own."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    if gate is not None:
        gate.wait()
    path = folder / f"{number}.parquet"
    pq.write_table(pa.table({"id": [f"{number:016x}"], "number": [0]}), path)
    catalog = open_catalog(folder / "catalog")
    try:
        return versions.commit_version(catalog, "text", [str(path)],
                                       {versions.VERSION: f"{number:016x}"})
    finally:
        catalog.close()


@pytest.mark.parametrize("first", ["new table", "table that is there"])
def test_writers_at_once_lose_nothing(tmp_path, first):
    if first != "new table":
        commit_rows(tmp_path, 99)
    context = multiprocessing.get_context("spawn")
    gate = context.Barrier(4)
    writers = [context.Process(target=commit_rows, args=(tmp_path, n, gate)) for n in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [w.exitcode for w in writers] == [0] * 4
    catalog = open_catalog(tmp_path / "catalog")
    try:
        table = load_table(catalog, "text")
        found = versions.versions(table)
        assert sorted(v.name for v in found if v.name != f"{99:016x}") == [
            f"{n:016x}" for n in range(4)]
        for version in found:
            assert f"v{version.name}" in version.tags
            assert versions.scan(table, version, ["id"])["id"].to_pylist() == [version.name]
    finally:
        catalog.close()


def test_a_writer_that_is_always_overtaken_says_so(tmp_path, monkeypatch):
    from pyiceberg.exceptions import CommitFailedException
    from pyiceberg.table import Transaction

    def overtaken(self):
        raise CommitFailedException("another was first")

    monkeypatch.setattr(Transaction, "commit_transaction", overtaken)
    monkeypatch.setattr("data_pipelines.snapshots.changes.time.sleep", lambda seconds: None)
    with pytest.raises(DataError, match="changed by others 8 times"):
        commit_rows(tmp_path, 1)


def test_any_version_can_be_current_again_and_a_name_is_given_once(recipe, opened, corpus, prose,
                                                                    tmp_path):
    first = curate(recipe())
    corpus[1]("new.txt", prose(71))
    second = curate(recipe(), existing="replace")
    table = opened()
    versions.add_tag(table, first.version, "golden")
    versions.add_tag(table, first.version, "golden")
    for tag in ("golden", f"v{first.version}", "main"):
        with pytest.raises(DataError, match="names version .* already"):
            versions.add_tag(opened(), second.version, tag)
    for version in ("golden", second.version, first.version):
        versions.rollback(opened(), version)
    assert versions.find_version(opened()).name == first.version
    curate(recipe(output=str(tmp_path / "again")))
    assert versions.find_version(opened()).name == second.version
    assert [v.name for v in versions.versions(opened())] == [first.version, second.version]


def test_rows_of_some_files_and_whole_files_are_forgotten_as_one_version(recipe, opened):
    curate(recipe(), sizes=Sizes(9000, 12000, 6000))
    table = opened()
    files = [f["file_path"] for f in table.inspect.files().to_pylist()]
    assert len(files) > 2
    rows = versions.scan(table, versions.find_version(table), ["source"])["source"].to_pylist()
    found = forget(table, sources=rows[:len(rows) // 2])
    assert found.rows == len(rows) // 2
    left = versions.scan(opened(), versions.find_version(opened()), ["source"])
    assert left["source"].to_pylist() == rows[len(rows) // 2:]
    assert [v.name for v in versions.versions(opened())][1:] == [found.version]
    assert f"v{found.version}" in versions.find_version(opened()).tags
    assert forget(opened(), sources=rows[:1]).rows == 0
