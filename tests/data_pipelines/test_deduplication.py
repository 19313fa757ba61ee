"""From disk the same survivors come as from memory, whatever the batches and blocks."""

import pyarrow as pa
import pytest

from data_pipelines import deduplication
from data_pipelines.deduplication import find_copies
from data_pipelines.steps import near_duplicates
from data_pipelines.table import drop


@pytest.fixture
def families(table, prose, edited):
    texts = [edited(prose(i % 9, 200), 7 * (i // 9) + 5, f"w{i}") for i in range(60)]
    made = drop(table([*texts, "", "one", prose(99)]), {3: ("too_short", "1")})
    return made.append_column("score", pa.array([i * 7 % 11 / 11 for i in range(63)]))


@pytest.mark.parametrize("rows, block", [(1000, 1 << 22), (7, 300), (1, 1)])
@pytest.mark.parametrize("quality", ["", "score"])
def test_survivors_are_those_of_the_step(families, tmp_path, monkeypatch, rows, block, quality):
    monkeypatch.setattr(deduplication, "BLOCK", block)
    pieces = [families.slice(i, rows) for i in range(0, families.num_rows, rows)]
    copies = find_copies(pieces, tmp_path / "shingles", quality=quality)
    judged = near_duplicates.make(quality=quality)(families).to_pylist()
    ids = [r["id"] for r in judged]
    for row, survivor, similarity in zip(judged, *copies, strict=True):
        if row["dropped"] == "near_duplicate":
            assert row["detail"] == f"{ids[survivor]} {similarity:.3f}"
        else:
            assert ids[survivor] == row["id"] and similarity == 1
    assert sum(r["dropped"] == "near_duplicate" for r in judged) > 30
    assert not list(tmp_path.iterdir())


def test_no_documents(table, tmp_path):
    assert find_copies([], tmp_path / "shingles").survivor.shape == (0,)
    assert find_copies([table([])], tmp_path / "shingles").survivor.shape == (0,)
