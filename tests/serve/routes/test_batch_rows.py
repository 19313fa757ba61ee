"""`ssljax batch` and the server say the same of an input, to the last bit, whatever is killed."""

import base64
import io
import json
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from ssljax.cli.main import main
from ssljax.core.errors import DataError, ServeError
from ssljax.runs.batch import encode_table, write_texts
from tests.kills import killed_at_random

TEXTS = [f"Text {i} has {i * i} words" + " or more" * (i % 3) for i in range(9)]
TEXTS[4], TEXTS[6] = "ä € " * 3, "x" * 200                 # of several bytes; beyond the context


@pytest.fixture(scope="module")
def pictures():
    draw = np.random.default_rng(5)

    def file(height, width):
        stream = io.BytesIO()
        pixels = draw.integers(256, size=(height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(stream, "png")
        return stream.getvalue()

    return [file(8 + at, 19 - at) for at in range(7)]


@pytest.fixture
def table(pictures, tmp_path):
    """Images in a column, the fourth of them cut; and a truth of its own."""
    cells = [*pictures[:3], pictures[3][:70], *pictures[4:]]
    pq.write_table(pa.table({"image": [{"bytes": cell, "path": ""} for cell in cells],
                             "label": list(range(7))}), tmp_path / "rows.parquet")
    return tmp_path / "rows.parquet"


@pytest.fixture
def lines(tmp_path):
    def write(column, cells):
        path = tmp_path / "rows.jsonl"
        path.write_text("".join(json.dumps({column: cell}) + "\n" for cell in cells))
        return path

    return write


def read(path):
    return (pq.read_table(path).to_pylist() if path.suffix == ".parquet" else
            [json.loads(line) for line in path.read_text().splitlines()])


def spelt(file):
    return base64.b64encode(file).decode()


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl"])
@pytest.mark.parametrize("top", [None, 2])
def test_classes_are_those_of_the_route(eyes_path, table, pictures, ask, tmp_path, suffix, top):
    out = tmp_path / f"out{suffix}"
    done = encode_table(eyes_path, table, out, function="classify", top=top, part=3)
    assert done == (7, 1, True)
    rows, more = read(out), {} if top is None else {"top": top}
    assert [row["label"] for row in rows] == list(range(7)) and "image" not in rows[0]
    for at, row in enumerate(rows):
        if at == 3:
            assert row["predicted"] is row["probs"] is row["labels"] is None
            assert "cannot be read" in row["error"]
            continue
        [told] = ask("/classify", {"model": "eyes", "input": spelt(pictures[at]), **more})["data"]
        assert (row["predicted"], row["probs"], row["labels"], row["error"]) == (
            told["label"], told["probs"], told["labels"], None)
        assert sum(row["probs"]) == pytest.approx(1) if top is None else len(row["probs"]) == 2


def test_images_may_be_spelt_as_in_requests(eyes_path, pictures, ask, lines, tmp_path):
    pixels = np.random.default_rng(0).integers(256, size=(16, 16, 3))
    cells = [spelt(pictures[0]), f"data:image/png;base64,{spelt(pictures[1])}",
             {"image": spelt(pictures[2])}, pixels.tolist(), "https://a.example/cat.png", "??",
             None]
    source, out = lines("image", cells), tmp_path / "out.jsonl"
    assert encode_table(eyes_path, source, out, function="embed") == (7, 3, True)
    rows = read(out)
    for cell, row in list(zip(cells, rows, strict=True))[:4]:
        [told] = ask("/v1/embeddings", {"model": "eyes", "input": cell})["data"]
        np.testing.assert_array_equal(np.float32(row["embedding"]), np.float32(told["embedding"]))
    for row, why in zip(rows[4:], ("holds the URL", "no base64", "expected image"), strict=True):
        assert why in row["error"] and row["embedding"] is None


def test_scores_are_those_of_an_echo(talker_path, site, ask, lines, tmp_path):
    source, out = lines("text", [*TEXTS, 7]), tmp_path / "out.parquet"
    assert write_texts(talker_path, source, out, function="score", part=4) == (10, 2, True)
    rows = read(out)
    for at in (0, 1, 2, 3, 4, 5, 7, 8):
        told = ask("/v1/completions", {"model": "tiny", "prompt": TEXTS[at], "max_tokens": 0,
                                       "echo": True, "logprobs": 1})["choices"][0]["logprobs"]
        assert rows[at]["logprobs"] == told["token_logprobs"] and max(rows[at]["logprobs"]) < 0
        assert rows[at]["token_ids"] == site.artefacts["tiny"].tokenizer.encode(TEXTS[at])
        assert len(rows[at]["token_ids"]) == len(rows[at]["logprobs"])
    assert "at most 48" in rows[6]["error"] and rows[6]["token_ids"] is rows[6]["logprobs"] is None
    assert "expected a text, found int" in rows[9]["error"]


def test_a_vector_for_each_token_is_kserves(talker_path, ask, lines, tmp_path):
    out = tmp_path / "out.parquet"
    done = encode_table(talker_path, lines("text", [*TEXTS, [5, 6, 7]]), out, function="sequence")
    assert done == (10, 1, True)
    rows = read(out)
    for at, cell in ((0, TEXTS[0]), (4, TEXTS[4]), (9, [5, 6, 7])):
        tensor = ({"name": "tokens", "datatype": "INT32", "shape": [1, 3], "data": cell}
                  if at == 9 else {"name": "text", "datatype": "BYTES", "shape": [1],
                                   "data": [cell]})
        told = ask("/v2/models/tiny/infer", {"inputs": [tensor],
                                             "outputs": [{"name": "sequence"}]})["outputs"][0]
        np.testing.assert_array_equal(np.float32(rows[at]["sequence"]).ravel(),
                                      np.float32(told["data"]))
    assert "reads at most 47" in rows[6]["error"]


def test_requests_may_classify(eyes_path, pictures, ask, lines, tmp_path):
    body, urls = {"input": [spelt(one) for one in pictures[:2]]}, ("classify", "embeddings")
    (tmp_path / "in.jsonl").write_text("".join(json.dumps({
        "custom_id": url, "method": "POST", "url": f"/v1/{url}", "body": body}) + "\n"
        for url in urls))
    write_texts(eyes_path, tmp_path / "in.jsonl", tmp_path / "out.jsonl", column="body")
    for line, url in zip(read(tmp_path / "out.jsonl"), urls, strict=True):
        right = ask(f"/v1/{url}", {"model": "eyes", **body})["data"]
        assert line["response"]["body"]["data"] == right


def test_what_a_model_cannot_do_is_said(eyes_path, talker_path, table, lines, tmp_path, capsys):
    out = tmp_path / "out.parquet"
    with pytest.raises(ServeError, match="`classify`, only embed, sequence; it comes with"):
        encode_table(talker_path, lines("text", ["a"]), out, function="classify")
    with pytest.raises(ServeError, match="is no language model, and score needs one; it can embed"):
        write_texts(eyes_path, lines("text", ["a"]), out, function="score")
    assert not out.exists()
    assert main(["batch", str(eyes_path), "--input", str(table), "--output", str(out),
                 "--top", "2"]) == 2
    assert "with --function classify" in capsys.readouterr().err


def test_columns_of_the_input_are_kept_whatever_they_are_called(eyes_path, pictures, tmp_path):
    """Names that another function gives its own are plain here; rows may lack some, or be none."""
    def write(name, *fields):
        path = tmp_path / name
        path.write_text("".join(json.dumps({"image": spelt(pictures[0]), **f}) + "\n"
                                for f in fields))
        return path

    source, out = write("in.jsonl", {"labels": [1, 2]}, {"tokens": "x"}, {}), tmp_path / "a.parquet"
    encode_table(eyes_path, source, out, part=2)
    rows = read(out)
    assert [row["labels"] for row in rows] == [[1, 2], None, None]
    assert [row["tokens"] for row in rows] == [None, "x", None]
    assert encode_table(eyes_path, write("none.jsonl"), tmp_path / "b.parquet") == (0, 0, True)
    assert read(tmp_path / "b.parquet") == []
    mixed = write("mixed.jsonl", {"n": 1}, {"n": "x"})
    for part in (1, 2):
        with pytest.raises(DataError, match="several types"):
            encode_table(eyes_path, mixed, tmp_path / "c.parquet", part=part)


@pytest.mark.slow
@pytest.mark.parametrize("function", ["classify", "score"])
def test_killed_at_random_the_output_has_the_same_bytes(eyes_path, talker_path, pictures, lines,
                                                        tmp_path, function):
    images = function == "classify"
    cells = [spelt(one) for one in pictures] * 400 if images else TEXTS * 60
    source = lines("image" if images else "text", cells)

    def start(output):
        return subprocess.Popen([
            sys.executable, "-m", "ssljax.cli.main", "batch",
            str(eyes_path if images else talker_path), "--input", str(source), "--output",
            str(output), "--function", function], stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL)

    quiet, out = tmp_path / "quiet.jsonl", tmp_path / "out.jsonl"
    begun = killed_at_random(start, quiet, out, seed=1, latest=1.0)
    assert begun                                   # some were killed with a part of the job done
    assert out.read_bytes() == quiet.read_bytes() and len(read(out)) == len(cells)
