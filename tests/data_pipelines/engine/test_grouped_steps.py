"""Every step that judges rows together: the same bytes for any blocks, partitions and workers."""

import functools
import importlib
import io
import pkgutil
import sys
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pytest

from data_pipelines import steps
from data_pipelines.engine.engine import Engine, Given, Once
from data_pipelines.engine.local import Local
from data_pipelines.engine.plan import Grouped
from data_pipelines.table import add_column, documents, drop

Image = pytest.importorskip("PIL.Image")

STEPS = {
    "exact_duplicates": {"quality": "score"},
    "url_duplicates": {"quality": "score"},
    "paragraph_duplicates": {"min_words": 4},
    "near_duplicates": {"quality": "score"},
    "repeated_spans": {"length": 40, "quality": "score"},
    "image_duplicates": {"within": 8, "quality": "score"},
    "semantic_duplicates": {"per_cluster": 10, "at_least": 0.98},
    "balance": {"by": "topic", "temperature": 3.0, "most": 2.0, "total": 0.8},
    "window": {"columns": ("score",), "time": "time", "by": "topic", "length": 9.0},
    "scale_to_train": {"columns": ("score", "time")},
    "split": {"validation_fraction": 0.3},
}


class Whole(NamedTuple):
    """A grouped step as it travels to workers."""

    name: str

    def resolve(self):
        return made(self.name)


@functools.cache
def made(name):
    return importlib.import_module(f"data_pipelines.steps.{name}").make(**STEPS[name])


def picture(seed, size):
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3)).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(coarse).resize((size, size)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def corpus():
    """Return 90 documents of 12 families, of which four were dropped before."""
    from tests.data_pipelines.conftest import edited, prose
    draw = np.random.default_rng(0)
    family = draw.integers(0, 12, 90)
    same = draw.random(90) < 0.3
    texts = [prose(f, 70) if s else edited(prose(f, 90), e, f"w{i}") + prose(100 + i, 20)
             for i, (f, s, e) in enumerate(zip(family.tolist(), same, draw.integers(
                 0, 60, 90).tolist(), strict=True))]
    table = documents([{"source": f"{i % 7}.txt", "row": i, "text": t, "licence": ""}
                       for i, t in enumerate(texts)])
    columns = {
        "split": pa.array(["validation" if i % 4 == 1 else "train" for i in range(90)]),
        "score": pa.array(draw.integers(0, 3, 90).astype(float)),
        "url": pa.array([f"https://www.a.org/{f}?utm_x={i}" for i, f in enumerate(family)]),
        "image": pa.array([picture(int(f), 60 + int(f)) if i % 9 else None
                           for i, f in enumerate(family)]),
        "embedding": pa.array([(np.eye(12)[f] + 0.05 * draw.normal(size=12)).tolist() if i % 8
                               else None for i, f in enumerate(family)], pa.list_(pa.float32())),
        "topic": pa.array([f"t{int(f) % 5 * int(f) % 3}" for f in family]),
        "time": pa.array(draw.integers(0, 40, 90).astype(float))}
    for name, values in columns.items():
        table = add_column(table, name, values)
    return drop(table, dict.fromkeys((4, 30, 31, 60), ("before", "")))


def judged(table, name, folder, block_bytes, partitions, executor):
    """Return a table after a step, run over blocks of some size."""
    folder.mkdir()
    engine = Engine(folder, executor=executor, block_bytes=block_bytes, partitions=partitions)
    blocks = engine.read(Given(lambda _: table), [pa.table({"source": ["x"], "size": [0]})], "x")
    assert block_bytes > 10**6 or len(blocks.blocks) > 5
    return pa.concat_tables(engine.tables(engine.grouped(blocks, Whole(name), name)))


def rows(table):
    """Return the rows, but for the name under which the step ran."""
    return table.drop_columns(["step"]).to_pylist()


@pytest.mark.parametrize("name", STEPS)
def test_blocks_partitions_and_order_change_nothing(corpus, tmp_path, name):
    expected = made(name)(corpus)
    assert rows(expected) != rows(corpus)
    for block_bytes, partitions in ((1 << 30, 7), (3000, 1), (700, 5)):
        found = judged(corpus, name, tmp_path / f"{block_bytes}-{partitions}", block_bytes,
                       partitions, Once())
        assert rows(found) == rows(expected) and found.schema == expected.schema
    order = np.random.default_rng(1).permutation(corpus.num_rows)
    turned = judged(corpus.take(pa.array(order)), name, tmp_path / "turned", 1500, 3, Once())
    assert rows(turned.take(pa.array(np.argsort(order)))) == rows(expected)
    before = [4, 30, 31, 60]
    assert expected["dropped"].take(pa.array(before)).to_pylist() == ["before"] * 4


class Held(NamedTuple):
    """A source of rows that travels to workers."""

    table: pa.Table
    name: str = "held"

    def resolve(self):
        return lambda files: self.table


def test_workers_change_nothing(corpus, tmp_path):
    executor = Local(2)
    try:
        for name in ("semantic_duplicates", "repeated_spans", "image_duplicates"):
            folder = tmp_path / name
            folder.mkdir()
            engine = Engine(folder, executor=executor, block_bytes=3000, partitions=3)
            blocks = engine.read(Held(corpus), [pa.table({"source": ["x"], "size": [0]})], "x")
            found = pa.concat_tables(engine.tables(engine.grouped(blocks, Whole(name), name)))
            assert rows(found) == rows(made(name)(corpus))
    finally:
        executor.close()


def test_no_step_takes_the_whole_table():
    """A step is row-wise, grouped, or a source."""
    others = []
    for module in pkgutil.iter_modules(steps.__path__):
        step = sys.modules.get(f"data_pipelines.steps.{module.name}") or importlib.import_module(
            f"data_pipelines.steps.{module.name}")
        if not getattr(step, "ROWWISE", False) and module.name not in STEPS:
            others.append(module.name)
    assert all(name.startswith("read_") for name in others)
    assert all(isinstance(made(name), Grouped) for name in STEPS)
