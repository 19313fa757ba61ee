"""Vectors of tables and folders: every row once, the same bytes whatever is killed or joined."""

import io
import json
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from data_pipelines.steps import embed
from data_pipelines.table import documents, drop
from ssljax.cli.main import main
from ssljax.core.errors import ConfigError, DataError, ServeError
from ssljax.runs.batch import encode_table
from ssljax.serve.artefact import load_artefact
from ssljax.serve.embedding import make_embed
from tests.kills import killed_at_random

TEXTS = [f"Sentence {i} tells of {i * i} things, and of {'more ' * (i % 17)}." for i in range(70)]


@pytest.fixture
def rows(tmp_path):
    path = tmp_path / "rows.jsonl"
    fields = [{"id": f"d{i}", "text": text} for i, text in enumerate(TEXTS)]
    fields[3]["text"], fields[5]["text"] = "", 17
    path.write_text("".join(json.dumps(f) + "\n" for f in fields))
    return path


def test_every_row_has_its_vector_or_the_reason_why_not(exported, rows, tmp_path):
    done = encode_table(exported.artefact, rows, tmp_path / "out.parquet", part=16)
    assert done == (70, 2, True)
    table = pq.read_table(tmp_path / "out.parquet")
    assert table.column_names == ["id", "row", "embedding", "error"]
    assert table["row"].to_pylist() == list(range(70))
    assert [i for i, e in enumerate(table["error"].to_pylist()) if e] == [3, 5]
    artefact = load_artefact(exported.artefact)
    ids = np.array(artefact.tokenizer.encode(TEXTS[40]), np.int32)
    np.testing.assert_array_equal(table["embedding"][40].as_py(), make_embed(artefact)([ids])[0])


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_parts_change_no_vector_and_a_second_call_does_nothing(exported, rows, tmp_path, suffix):
    small, large = tmp_path / f"small{suffix}", tmp_path / f"large{suffix}"
    encode_table(exported.artefact, rows, small, part=7)
    encode_table(exported.artefact, rows, large, part=1000)
    if suffix == ".jsonl":
        assert small.read_bytes() == large.read_bytes()
    assert vectors(small) == vectors(large)
    before = small.stat().st_mtime_ns
    assert encode_table(exported.artefact, rows, small, part=7) == (70, 2, False)
    assert small.stat().st_mtime_ns == before
    assert {p.name for p in tmp_path.iterdir()} == {
        "rows.jsonl", small.name, f"{small.name}.job.json", large.name, f"{large.name}.job.json"}


def vectors(path):
    """Return the vectors of an output as bytes, None where a row has none."""
    found = (pq.read_table(path)["embedding"].to_pylist() if path.suffix == ".parquet" else
             [json.loads(line)["embedding"] for line in path.read_text().splitlines()])
    return [None if v is None else np.array(v, np.float32).tobytes() for v in found]


def test_another_input_or_a_changed_output_is_refused_and_kept(exported, rows, tmp_path):
    out = tmp_path / "out.jsonl"
    encode_table(exported.artefact, rows, out)
    made = out.read_bytes()
    rows.write_text(rows.read_text() + json.dumps({"text": "one more"}) + "\n")
    with pytest.raises(DataError, match="is not what this job makes"):
        encode_table(exported.artefact, rows, out)
    assert out.read_bytes() == made


def test_parts_of_another_job_are_not_taken_up(exported, rows, tmp_path):
    """A job that stopped half-way, whose input then changed, begins again."""
    out, stop = tmp_path / "out.jsonl", RuntimeError("stopped")

    def report(done, total):
        assert total == 70
        if done >= 20:
            raise stop

    with pytest.raises(RuntimeError, match="stopped"):
        encode_table(exported.artefact, rows, out, part=10, report=report)
    lines = rows.read_text().splitlines()
    rows.write_text("\n".join([json.dumps({"text": "changed"}), *lines[1:]]) + "\n")
    encode_table(exported.artefact, rows, out, part=10)
    fresh = tmp_path / "fresh.jsonl"
    encode_table(exported.artefact, rows, fresh, part=10)
    assert out.read_bytes() == fresh.read_bytes()


@pytest.mark.parametrize(("source", "output", "message"), [
    ("absent.jsonl", "out.jsonl", "does not exist"),
    ("rows.jsonl", "out.csv", "expected one of"),
    ("rows.jsonl", "no/out.jsonl", "not a folder"),
    ("broken.jsonl", "out.jsonl", "line 2, is not JSON"),
    ("other.jsonl", "out.jsonl", 'has no "text"'),
    ("broken.parquet", "out.jsonl", "not a readable Parquet file"),
])
def test_what_cannot_work_is_said(exported, rows, tmp_path, source, output, message):
    (tmp_path / "broken.jsonl").write_text('{"text": "a"}\n{"text": \n')
    (tmp_path / "other.jsonl").write_text('{"words": "a"}\n')
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(DataError, match=message):
        encode_table(exported.artefact, tmp_path / source, tmp_path / output)
    assert not (tmp_path / output).exists()


def test_an_artefact_without_the_function_says_how_to_get_it(exported):
    artefact = load_artefact(exported.artefact)
    with pytest.raises(ServeError, match="export the run again"):
        make_embed(artefact._replace(functions={"score": artefact.functions["score"]}))


def test_images_are_prepared_as_in_training_and_damaged_ones_are_named(encoder, tmp_path, capsys):
    method, _, artefact = encoder
    folder = tmp_path / "images"
    folder.mkdir()
    draw = np.random.default_rng(0)
    for i in range(5):
        Image.fromarray(draw.integers(256, size=(12, 9), dtype=np.uint8)).save(folder / f"{i}.png")
    (folder / "cut.png").write_bytes((folder / "0.png").read_bytes()[:60])
    out = tmp_path / "out.parquet"
    assert main(["batch", str(artefact), "--input", str(folder), "--output", str(out)]) == 0
    assert "6 rows" in capsys.readouterr().out
    found = pq.read_table(out).to_pylist()
    assert sum(row["error"] is not None for row in found) == 1
    loaded = load_artefact(artefact)
    right = {make_embed(loaded)([method.pretext.plain(
        {"image": (folder / f"{i}.png").read_bytes(), "id": np.zeros(2, np.uint32)})["image"]])
        .tobytes() for i in range(5)}
    assert {np.array(r["embedding"], np.float32).tobytes() for r in found
            if r["error"] is None} == right


def test_a_table_of_images_in_the_form_of_hugging_face(encoder, tmp_path):
    picture = io.BytesIO()
    Image.new("L", (8, 8), 77).save(picture, "png")
    pq.write_table(pa.table({"image": [{"bytes": picture.getvalue(), "path": "a.png"}, None],
                             "label": [3, 4]}), tmp_path / "rows.parquet")
    done = encode_table(encoder[2], tmp_path / "rows.parquet", tmp_path / "out.jsonl")
    assert done == (2, 1, True)
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [r["label"] for r in rows] == [3, 4] and len(rows[0]["embedding"]) == 16


def test_curation_gives_documents_vectors_and_drops_copies_in_meaning(exported):
    texts = ["Sentence 4 tells of 16 things.", "gone", "Sentence 4 tells of 16 things."]
    table = documents([{"source": f"{i}", "row": 0, "text": t, "licence": ""}
                       for i, t in enumerate(texts)])
    table = drop(table, {1: ("too_short", "")})
    given = embed.make(artefact=str(exported.artefact))(table)
    first, none, third = given["embedding"].to_pylist()
    assert none is None and first == third and len(first) == 32
    with pytest.raises(ConfigError, match="no manifest"):
        embed.make(artefact=str(exported.data / "nowhere"))


@pytest.mark.slow
def test_killed_at_random_the_output_has_the_same_bytes(exported, rows, tmp_path):
    fields = rows.read_text().splitlines()
    rows.write_text("\n".join(fields * 60) + "\n")
    quiet, out = tmp_path / "quiet.parquet", tmp_path / "out.parquet"

    def start(output):
        return subprocess.Popen([sys.executable, "-m", "ssljax.cli.main", "batch",
                                 str(exported.artefact), "--input", str(rows), "--output",
                                 str(output)], stdout=subprocess.DEVNULL)

    killed_at_random(start, quiet, out, seed=0, latest=1.1)
    assert out.read_bytes() == quiet.read_bytes()
