"""Images of folders, archives and tables: one set of records whatever holds them."""

import io
import json
import pathlib
import pickle
import shutil
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image

from ssljax.core.errors import ConfigError, DataError, UnreadableRecordError
from ssljax.core.source import Source, read_each
from ssljax.sources import array_record, images
from ssljax.sources.image_members import tar_members, zip_members

CIFAR = pathlib.Path(__file__).parents[3] / "shared" / "data" / "cifar10_train.zip"
NAMES = [f"{kind}/{i}.png" for kind in ("cat", "ant", "bee") for i in range(4)]


def picture(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (6, 9, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return file.getvalue()


FILES = {name: picture(i) for i, name in enumerate(NAMES)}


def write_folder(folder: pathlib.Path, files: dict[str, bytes]) -> str:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return str(folder)


def write_zip(path: pathlib.Path, files: dict[str, bytes], method=zipfile.ZIP_STORED) -> str:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return str(path)


def write_tar(path: pathlib.Path, files: dict[str, bytes]) -> str:
    with tarfile.open(path, "w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return str(path)


def open_source(path: str, tmp_path: pathlib.Path, **options) -> Source:
    return images.make(path=path, cache=str(tmp_path / "cache"), **options)


def by_image(source: Source) -> dict[bytes, dict]:
    """Return the records by their image's bytes, id as plain numbers."""
    records = source.read(np.arange(len(source)))
    return {r["image"]: {**r, "id": tuple(map(int, r["id"]))} for r in records}


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "photos", FILES)


@pytest.mark.parametrize("pack", [
    lambda p: write_zip(p / "a.zip", FILES), lambda p: write_tar(p / "a.tar", FILES),
    lambda p: write_zip(p / "b.zip", FILES, zipfile.ZIP_DEFLATED)],
    ids=["zip", "tar", "deflated"])
def test_an_archive_has_the_records_of_its_folder(pack, folder, tmp_path):
    packed, plain = open_source(pack(tmp_path), tmp_path), open_source(folder, tmp_path)
    assert by_image(packed) == by_image(plain)
    assert packed.classes == plain.classes == ("ant", "bee", "cat")
    assert set(by_image(plain)) == set(FILES.values())
    assert by_image(plain)[FILES["bee/2.png"]]["label"] == 1


def test_records_cross_to_workers_as_paths_and_come_in_the_order_asked(folder, tmp_path):
    source = pickle.loads(pickle.dumps(open_source(folder, tmp_path)))
    there = source.read(np.array([7, 2, 7]))
    assert there[0]["image"] == there[2]["image"] != there[1]["image"]
    assert there[0]["id"].dtype == np.uint32 and isinstance(source, Source)
    assert len(pickle.dumps(source)) < 1000


def test_files_without_classes_have_no_label_and_hidden_ones_are_left_out(tmp_path):
    flat = {name.replace("/", "_"): data for name, data in FILES.items()}
    junk = {".hidden.png": b"x", "__MACOSX/._0.png": b"x", "notes.md": b"x", ".git/a.png": b"x"}
    source = open_source(write_folder(tmp_path / "flat", flat | junk), tmp_path)
    records = by_image(source)
    assert len(records) == 12 and source.classes == ()
    assert all(set(r) == {"id", "image"} for r in records.values())


def test_files_of_one_name_are_a_sample(tmp_path):
    files = {"0.jpg": picture(0), "0.cls": b"7\n", "0.txt": "ein Hündchen".encode(),
             "1.jpg": picture(1), "1.json": json.dumps({"label": 3, "caption": "two"}).encode(),
             "2.left.jpg": picture(2), "2.cls": b"0", "2.json": b"not json"}
    records = by_image(open_source(write_tar(tmp_path / "wds.tar", files), tmp_path))
    assert records[picture(0)]["label"] == 7 and records[picture(0)]["text"] == "ein Hündchen"
    assert records[picture(1)]["label"] == 3 and records[picture(1)]["text"] == "two"
    assert records[picture(2)]["label"] == 0 and "text" not in records[picture(2)]


def test_names_of_classes_beside_the_images_are_numbered_in_order(tmp_path):
    files = {"0.jpg": picture(0), "0.cls": b"zebra", "1.jpg": picture(1), "1.cls": b"ant"}
    source = open_source(write_tar(tmp_path / "wds.tar", files), tmp_path)
    assert source.classes == ("ant", "zebra")
    assert by_image(source)[picture(0)]["label"] == 1


def test_one_image_without_label_leaves_all_without(tmp_path):
    files = {"0.jpg": picture(0), "0.cls": b"1", "1.jpg": picture(1)}
    records = by_image(open_source(write_tar(tmp_path / "wds.tar", files), tmp_path))
    assert not any("label" in r for r in records.values())


def test_shards_are_one_source_and_equal_names_in_them_are_different_records(tmp_path):
    for shard in range(2):
        write_tar(tmp_path / f"part-{shard}.tar", {"0.png": picture(shard)})
    source = open_source(str(tmp_path / "part-*.tar"), tmp_path)
    assert len({r["id"] for r in by_image(source).values()}) == len(source) == 2
    moved = tmp_path / "moved"
    moved.mkdir()
    for shard in tmp_path.glob("part-*.tar"):
        shutil.copy(shard, moved)
    assert by_image(open_source(str(moved), tmp_path)) == by_image(source)


def test_a_listing_is_made_once_and_anew_when_the_archive_changes(tmp_path, monkeypatch):
    calls = []

    def counted(path, where):
        calls.append(path)
        return zip_members(path, where)

    monkeypatch.setitem(images.LIST, ".zip", counted)
    path = write_zip(tmp_path / "a.zip", FILES)
    first, again = open_source(path, tmp_path), open_source(path, tmp_path)
    assert len(calls) == 1 and first.fingerprint() == again.fingerprint()
    write_zip(tmp_path / "a.zip", FILES | {"dog/0.png": picture(99)})
    changed = open_source(path, tmp_path)
    assert len(calls) == 2 and len(changed) == 13
    assert changed.fingerprint() != first.fingerprint()


def test_a_limit_takes_the_lowest_ids_so_that_more_contain_fewer(folder, tmp_path):
    whole = sorted(r["id"][::-1] for r in by_image(open_source(folder, tmp_path)).values())
    taken = [{r["id"][::-1] for r in by_image(open_source(folder, tmp_path, limit=n)).values()}
             for n in (3, 7, 12, 99)]
    assert [len(t) for t in taken] == [3, 7, 12, 12]
    assert taken[0] == set(whole[:3]) and taken[0] < taken[1] < taken[2]
    some = open_source(folder, tmp_path, limit=3)
    assert some.classes == ("ant", "bee", "cat") and isinstance(some, Source)
    assert some.fingerprint() != open_source(folder, tmp_path, limit=4).fingerprint()


def test_damaged_files_are_unreadable_and_the_others_are_not(folder, tmp_path):
    path = pathlib.Path(write_zip(tmp_path / "a.zip", FILES))
    source = open_source(str(path), tmp_path)
    (member,) = [m for m in zip_members(str(path), 0) if m.name == NAMES[5]]
    data = bytearray(path.read_bytes())
    data[member.offset + 40] ^= 1
    path.write_bytes(data)                       # the listing stays: size and names are the same
    found = read_each(source, np.arange(12))
    assert [isinstance(r, UnreadableRecordError) for r in found].count(True) == 1
    assert found[5].reason == "unreadable_file" and "checksum" in str(found[5])
    opened = open_source(folder, tmp_path)
    pathlib.Path(folder, NAMES[0]).unlink()
    assert sum(isinstance(r, UnreadableRecordError) for r in read_each(opened, np.arange(12))) == 1


def test_a_cut_tar_keeps_what_is_whole(tmp_path):
    path = pathlib.Path(write_tar(tmp_path / "a.tar", FILES))
    last = list(tar_members(str(path), 0))[-1]
    path.write_bytes(path.read_bytes()[:last.offset + 10])
    source = open_source(str(path), tmp_path)
    found = read_each(source, np.arange(len(source)))
    assert [isinstance(r, dict) for r in found] == [True] * 11 + [False]


@pytest.mark.parametrize(("write", "says"), [
    (lambda p: str(p / "none"), "names no files"),
    (lambda p: write_folder(p / "empty", {"notes.md": b"x"}), "None of 1 files is an image"),
    (lambda p: str(p / "a.tar.gz"), "compressed tars have no random access"),
    (lambda p: str(p / "fake.zip"), "cannot be read as a zip archive"),
    (lambda p: str(p / "fake.tar"), "cannot be read as a tar archive"),
    (lambda p: write_zip(p / "bz.zip", FILES, zipfile.ZIP_BZIP2), "packed by method 12")])
def test_what_is_no_collection_of_images_is_refused(write, says, tmp_path):
    for name in ("a.tar.gz", "fake.zip", "fake.tar"):
        (tmp_path / name).write_bytes(b"nothing of the kind" * 100)
    with pytest.raises(DataError, match=says):
        open_source(write(tmp_path), tmp_path)


def test_an_empty_path_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="source.path is empty"):
        open_source("", tmp_path)


@pytest.mark.parametrize("shape", ["struct", "binary"])
def test_parquet_as_hugging_face_writes_it(shape, tmp_path):
    import pyarrow as pa
    import pyarrow.parquet

    data = [{"bytes": d, "path": n} if shape == "struct" else d for n, d in FILES.items()]
    about = {"info": {"features": {"label": {"names": ["ant", "bee", "cat"]}}}}
    labels = [sorted(("ant", "bee", "cat")).index(n[:3]) for n in NAMES]
    table = pa.table({"image": data, "label": labels, "caption": NAMES})
    pa.parquet.write_table(table.replace_schema_metadata({"huggingface": json.dumps(about)}),
                           tmp_path / "train-0.parquet", row_group_size=5)
    source = open_source(str(tmp_path / "train-0.parquet"), tmp_path)
    records = by_image(source)
    assert source.classes == ("ant", "bee", "cat") and len(records) == 12
    assert records[FILES["bee/2.png"]]["label"] == 1
    assert records[FILES["bee/2.png"]]["text"] == "bee/2.png"
    assert len(by_image(open_source(str(tmp_path / "*.parquet"), tmp_path, limit=4))) == 4


def test_parquet_with_names_of_classes_rows_without_bytes_and_no_image_at_all(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet

    table = pa.table({"jpg": [FILES[NAMES[0]], None], "label": ["zebra", "ant"]})
    pa.parquet.write_table(table, tmp_path / "a.parquet")
    source = open_source(str(tmp_path / "a.parquet"), tmp_path)
    first, second = read_each(source, np.arange(2))
    assert source.classes == ("ant", "zebra") and first["label"] == 1
    assert second.reason == "no_bytes"
    pa.parquet.write_table(pa.table({"x": [1]}), tmp_path / "b.parquet")
    with pytest.raises(DataError, match="no column of images"):
        open_source(str(tmp_path / "b.parquet"), tmp_path)


def test_array_record_of_files_and_of_our_records(tmp_path):
    records = [{"image": d, "label": i} for i, d in enumerate(FILES.values())]
    array_record.write(str(tmp_path / "ours.array_record"), records)
    found = by_image(open_source(str(tmp_path / "ours.array_record"), tmp_path))
    assert found[FILES[NAMES[5]]]["label"] == 5
    from array_record.python.array_record_module import ArrayRecordWriter
    writer = ArrayRecordWriter(str(tmp_path / "raw.array_record"), "group_size:1")
    for data in FILES.values():
        writer.write(data)
    writer.close()
    assert set(by_image(open_source(str(tmp_path / "raw.array_record"), tmp_path))) == set(
        FILES.values())


@pytest.mark.skipif(not CIFAR.is_file(), reason="no CIFAR-10 beside the checkout")
def test_cifar_10(tmp_path):
    source = open_source(str(CIFAR), tmp_path, limit=1000)
    records = source.read(np.arange(len(source)))
    assert len(source.classes) == 10 and source.classes[0] == "airplane"
    counts = np.bincount([r["label"] for r in records])
    assert counts.sum() == 1000 and counts.min() > 60
    assert all(r["image"][:2] == b"\xff\xd8" for r in records)
