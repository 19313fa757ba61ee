"""Rows of data sets for the comparison page: all of them, with why they were dropped."""

import hashlib
import io
import random
import shutil

import numpy as np
import pytest
from PIL import Image

from ssljax.cli.main import main
from ssljax.core.errors import DataError
from ssljax.runs import datasets
from ssljax.runs.datasets import open_dataset
from ssljax.serve.arena.viewer import Query
from ssljax.sources.manifest import read_manifest


@pytest.fixture(scope="module")
def curated(tmp_path_factory):
    """A curated folder of 40 documents, two of which are dropped."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "raw").mkdir()
    draw = random.Random(0)
    words = ["".join(draw.choices("abcdefghij", k=5)) for _ in range(400)]
    for n in range(40):
        text = "".join(" ".join(draw.choices(words, k=10)).capitalize() + ".\n" for _ in range(9))
        (folder / "raw" / f"{n:02}.txt").write_text("Brief." if n == 3 else f"{text} Number{n}.")
    shutil.copy(folder / "raw" / "05.txt", folder / "raw" / "99.txt")
    assert main(["curate", "--input", str(folder / "raw"), "--output", str(folder / "set")]) == 0
    return folder / "set"


@pytest.fixture(scope="module")
def table(curated):
    return open_dataset(curated)


def numbers(rows):
    return [row["number"] for row in rows.rows]


def test_kept_and_dropped_rows_are_those_of_the_manifest(table, curated):
    manifest = read_manifest(curated)
    found = table.find(Query(count=50))
    assert numbers(found) == list(range(41)) and found.next is None and found.seen == 41
    for reason, count in manifest.dropped.items():
        rows = table.find(Query(reason=reason)).rows
        assert len(rows) == count > 0 and all(r["dropped"] == reason and r["step"] for r in rows)
    assert len(table.find(Query(reason="kept", count=50)).rows) == manifest.kept
    assert table.find(Query(reason="too_short")).rows[0]["text"] == "Brief."


def test_pages_follow_each_other_without_gap_or_repeat(table):
    whole, start = [], 0
    while start is not None:
        found = table.find(Query(start=start, count=7))
        whole, start = whole + numbers(found), found.next
    assert whole == list(range(41))


def test_search_finds_text_and_sources_in_any_case(table):
    [row] = table.find(Query(text="nUMBER17.")).rows
    assert "Number17." in row["text"] and row["facts"]["source"] == "17.txt"
    assert [r["facts"]["source"] for r in table.find(Query(text="99.TXT")).rows] == ["99.txt"]
    assert table.find(Query(text="not there")).rows == []


def test_splits_and_long_texts_are_cut(table, monkeypatch):
    found = table.find(Query(split="validation", count=50)).rows
    assert found and all(row["facts"]["split"] == "validation" for row in found)
    monkeypatch.setattr(datasets, "LONGEST_TEXT", 10)
    assert len(table.find(Query(count=1)).rows[0]["text"]) == 10


def test_a_search_that_takes_too_long_says_where_to_go_on(table, monkeypatch):
    monkeypatch.setattr(datasets, "SEARCH_SECONDS", -1.0)
    monkeypatch.setattr(datasets, "WINDOW", 10)
    found = table.find(Query(text="not there"))
    assert found.next == 0 or found.seen == found.next


def test_without_its_table_a_data_set_shows_what_was_kept(curated, table, tmp_path):
    shutil.copytree(curated, tmp_path / "alone")
    alone = open_dataset(tmp_path / "alone")
    texts = sorted(row["text"].strip() for row in alone.find(Query(count=50)).rows)
    kept = table.find(Query(reason="kept", count=50)).rows
    assert texts == sorted(row["text"].strip() for row in kept)
    assert "dropped rows are not shown" in alone.about["note"]
    assert alone.find(Query(reason="too_short")).rows == []
    [row] = alone.find(Query(text="number17.")).rows
    assert alone.find(Query(start=row["number"], count=1)).rows == [row]


def test_images_of_a_folder_have_bytes_and_classes(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name, colour in (("cat/0.png", "red"), ("dog/1.png", "blue"), ("dog/2.png", "green")):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4), colour).save(path)
    found = open_dataset(tmp_path / "photos")
    assert found.images == 3
    assert [row["facts"]["label"] for row in found.find(Query()).rows] == ["cat", "dog", "dog"]
    assert Image.open(io.BytesIO(found.image(1))).getpixel((0, 0)) == (0, 0, 255)
    assert [(p.row, p.label) for p in found.pictures(2)] == [(0, "cat"), (1, "dog")]
    assert found.image(99) is None


def test_what_is_no_data_set_is_named(tmp_path):
    with pytest.raises(DataError):
        open_dataset(tmp_path)


@pytest.mark.slow
def test_images_of_a_curated_set_are_those_of_their_rows(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    for n in range(12):
        path = tmp_path / "raw" / f"{'ab'[n % 2]}/{n}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.zeros((80, 80, 3)) if n == 5 else rng.integers(0, 256, (80, 80, 3))
        Image.fromarray(pixels.astype(np.uint8)).save(path)
    assert main(["curate", "--config", "data_pipelines/recipes/images.py", "--input",
                 str(tmp_path / "raw"), "--output", str(tmp_path / "set")]) == 0
    found = open_dataset(tmp_path / "set")
    rows = {row["number"]: row for row in found.find(Query(count=50)).rows}
    assert len(rows) == 12 and found.images == 11
    pictures = found.pictures(50)
    assert len(pictures) == 11
    for picture in pictures:
        assert hashlib.sha256(picture.data).hexdigest() == rows[picture.row]["facts"]["sha256"]
        assert found.image(picture.row) == picture.data
    [dropped] = [n for n, row in rows.items() if row["dropped"]]
    assert found.image(dropped) is None and rows[dropped]["image"] is False
