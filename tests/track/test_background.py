"""Rows reach a place that is slow or away in order and once; training never waits for it."""

import threading

import pytest

from ssljax.track import background


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(background, "RETRY_S", 0.01)
    monkeypatch.setattr(background, "CLOSE_S", 5.0)


def test_rows_of_a_place_that_was_away_arrive_in_order_once():
    got, failures, back = [], iter([True, True, False]), threading.Event()

    def send(rows) -> None:
        if next(failures, False):
            raise ConnectionError("away")
        got.extend(row.step for row in rows)
        back.set()

    writer = background.in_background(send, what="test", finish=lambda: got.append("end"))
    for step in range(20):
        writer.write(step, {"loss": 1.0})
    assert back.wait(5)
    writer.close()
    assert got == [*range(20), "end"]


def test_writing_returns_while_the_place_hangs():
    release, got = threading.Event(), []

    def send(rows) -> None:
        release.wait(5)
        got.extend(row.scalars["loss"] for row in rows)

    writer = background.in_background(send, what="test")
    for step in range(3):
        writer.write(step, {"loss": float(step)})
    assert got == []
    release.set()
    writer.close()
    assert got == [0.0, 1.0, 2.0]


def test_what_is_lost_is_counted(monkeypatch, caplog):
    monkeypatch.setattr(background, "MOST", 4)

    def send(rows) -> None:
        raise ConnectionError("away")

    writer = background.in_background(send, what="the place", finish=lambda: 1 / 0)
    for step in range(6):
        writer.write(step, {})
    writer.close()
    assert "the place did not take 6 logged rows" in caplog.text
