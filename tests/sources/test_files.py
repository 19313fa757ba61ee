"""Sources over files of every format: the same records, small pickles, fingerprints of content."""

import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ssljax.core.errors import DataError, UnreadableRecordError
from ssljax.core.source import Source, read_each
from ssljax.sources import array_record, arrays, parquet

COUNT = 50


def rows(offset=0):
    r = np.random.default_rng(0)
    return [{"image": r.integers(0, 256, (4, 4, 1), dtype=np.uint8),
             "tokens": (np.arange(6) + i).astype(np.int32), "label": i + offset}
            for i in range(COUNT)]


def write_array_record(folder, records):
    for part in range(2):
        some = records[part * 20:][:20 + 30 * part]
        array_record.write(str(folder / f"{part}.array_record"), some)
    return array_record.make(path=str(folder), cache=str(folder / "cache"))


def write_parquet(folder, records):
    for part in range(2):
        some = records[part * 20:][:20 + 30 * part]
        table = pa.table({"pixels": [r["image"].reshape(-1) for r in some],
                          "tokens": [r["tokens"] for r in some],
                          "label": [r["label"] for r in some]})
        pq.write_table(table, folder / f"{part}.parquet", row_group_size=7)
    return parquet.make(path=str(folder), fields={"image": "pixels", "tokens": "tokens",
                                                  "label": "label"},
                        shapes={"image": (4, 4, 1)}, cache=str(folder / "cache"))


def write_npz(folder, records):
    columns = {k: np.stack([r[k] for r in records]) for k in records[0]}
    np.savez(folder / "all.npz", **columns)
    return arrays.make(path=str(folder / "all.npz"), cache=str(folder / "cache"))


def write_npy(folder, records):
    for name in records[0]:
        np.save(folder / f"{name}.npy", np.stack([r[name] for r in records]))
    return arrays.make(path=str(folder), cache=str(folder / "cache"))


def in_memory(folder, records):
    return arrays.from_mapping({k: np.stack([r[k] for r in records]) for k in records[0]})


WRITERS = [write_array_record, write_parquet, write_npz, write_npy, in_memory]


@pytest.mark.parametrize("write", WRITERS)
def test_what_was_written_is_read_by_index_in_the_order_asked_for(write, tmp_path):
    source = write(tmp_path, rows())
    assert isinstance(source, Source) and len(source) == COUNT
    asked = np.array([49, 0, 20, 19, 0])
    for index, record in zip(asked, source.read(asked), strict=True):
        assert record.keys() == {"id", "image", "tokens", "label"}
        for name, value in rows()[index].items():
            assert np.array_equal(record[name], value) and np.shape(record[name]) == np.shape(value)
        assert record["image"].dtype == np.uint8 and record["tokens"].dtype == np.int32
    ids = {r["id"].tobytes() for r in source.read(np.arange(COUNT))}
    assert len(ids) == COUNT


@pytest.mark.parametrize("write", WRITERS)
def test_the_pickle_reads_the_same_and_the_fingerprint_follows_the_content(write, tmp_path):
    for name in "abc":
        (tmp_path / name).mkdir()
    source = write(tmp_path / "a", rows())
    source.read(np.arange(COUNT))
    sent = pickle.dumps(source)
    assert write is in_memory or len(sent) < 1000
    again = pickle.loads(sent)
    assert np.array_equal(again.read(np.array([7]))[0]["tokens"], rows()[7]["tokens"])
    assert write(tmp_path / "b", rows(offset=1)).fingerprint() != source.fingerprint()
    if write is not write_npz:               # zip files carry the time they were written
        assert write(tmp_path / "c", rows()).fingerprint() == source.fingerprint()


@pytest.mark.parametrize("make, suffix", [(array_record.make, "array_record"),
                                          (parquet.make, "parquet"), (arrays.make, "npy")])
def test_a_path_without_files_and_a_file_of_another_kind_are_named(make, suffix, tmp_path):
    with pytest.raises(DataError, match=f"names no files; .*\\*.{suffix} files"):
        make(path=str(tmp_path), cache=str(tmp_path))
    (tmp_path / f"x.{suffix}").write_bytes(b"this is no such file" * 5000)
    with pytest.raises(DataError, match=f"x.{suffix}|{tmp_path}"):
        make(path=str(tmp_path), cache=str(tmp_path))


def test_a_damaged_record_of_an_array_record_is_alone(tmp_path):
    from array_record.python.array_record_module import ArrayRecordWriter

    writer = ArrayRecordWriter(str(tmp_path / "x.array_record"), "group_size:1")
    for i in range(3):
        writer.write(array_record.encode({"label": i}) if i != 1 else b"junk")
    writer.close()
    found = read_each(array_record.make(path=str(tmp_path), cache=str(tmp_path)), np.arange(3))
    assert [r["label"] for r in found[::2]] == [0, 2]
    assert isinstance(found[1], UnreadableRecordError)


def test_raw_array_records_are_left_to_the_pretext(tmp_path):
    array_record.write(str(tmp_path / "x.array_record"), [{"a": 1}])
    source = array_record.make(path=str(tmp_path), records="bytes", cache=str(tmp_path))
    assert source.read(np.array([0]))[0]["bytes"] == array_record.encode({"a": 1})


def test_a_missing_column_names_the_nearest(tmp_path):
    write_parquet(tmp_path, rows())
    says = 'no column "lable" for the field "y"; did you mean "label"'
    with pytest.raises(DataError, match=says):
        parquet.make(path=str(tmp_path), fields={"y": "lable"}, cache=str(tmp_path))


def test_text_and_bytes_of_parquet_are_python_values(tmp_path):
    pq.write_table(pa.table({"text": ["a", None], "raw": [b"\x00", b""]}), tmp_path / "x.parquet")
    source = parquet.make(path=str(tmp_path / "x.parquet"), cache=str(tmp_path))
    first, second = source.read(np.arange(2))
    assert (first["text"], first["raw"], second["text"]) == ("a", b"\x00", None)


@pytest.mark.parametrize("columns", [{"a": np.zeros(3), "b": np.zeros(4)}, {"a": np.float32(1)},
                                     {"id": np.zeros(3)}])
def test_arrays_that_are_no_table_are_refused(columns):
    with pytest.raises(DataError, match="expected one number for all"):
        arrays.from_mapping(columns)
