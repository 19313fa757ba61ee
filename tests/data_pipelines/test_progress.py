"""Progress: places, rates and times of stages, as bars and as lines of a log."""

import io
import time

from rich.console import Console

from data_pipelines.corpus import stages as corpus_stages
from data_pipelines.progress import Stages, Work, bars, lines
from data_pipelines.recipe import read_recipe
from data_pipelines.run import curate, stages


class Clock:
    """Seconds that a test sets."""

    now = 0.0

    def __call__(self):
        return self.now


def test_a_stage_has_its_place_rates_time_left_and_survivors():
    clock = Clock()
    known = Stages(["read_files", "quality", "split"], clock)
    known.take("read_files", 1, 1, "10 of 10 documents left", Work())
    known.take("quality", 0, 4, "", Work(total=8_000_000))
    clock.now = 2.0
    stage = known.take("quality", 1, 4, "", Work(500, 2_000_000, 8_000_000, 321))
    assert stage.line() == ("2/3 quality: 1/4, 250 documents/s, 1.00\xa0MB/s, 6.00\xa0s to go, "
                            "321 documents left so far")
    stage = known.take("quality", 4, 4, "90 documents left", Work(2000, 8_000_000, 8_000_000, 90))
    assert stage.line().endswith("1,000 documents/s, 4.00\xa0MB/s, 90 documents left")
    assert known.take("split", 1, 2, "", Work()).title == "3/3 split"


def test_what_an_earlier_run_left_done_is_not_in_the_rate():
    clock = Clock()
    known = Stages(["quality"], clock)
    known.take("quality", 3, 4, "", Work(900, 9_000, 10_000))
    clock.now = 1.0
    stage = known.take("quality", 3, 4, "", Work(950, 9_500, 10_000))
    assert stage.figures() == "50 documents/s, 500\xa0B/s, 1.00\xa0s to go"


def test_rounds_are_parts_of_their_stage_and_a_name_may_come_twice():
    known = Stages(["near", "quality", "near"], Clock())
    first = known.take("near", 2, 2, "", Work())
    assert known.take("near: verify", 1, 4, "", Work()) is first
    assert first.title == "1/3 near: verify"
    known.take("near", 2, 2, "5 left", Work())
    assert first.title == "1/3 near"
    assert known.take("quality", 1, 1, "", Work()).title == "2/3 quality"
    assert known.take("near", 0, 2, "", Work()).title == "3/3 near"
    assert known.take("unheard of", 0, 2, "", Work()).title == "unheard of"


def test_a_log_gets_a_line_a_stage_and_one_every_so_many_seconds():
    out = io.StringIO()
    with lines(Stages(["quality"], time.monotonic), Console(file=out), seconds=0.05) as report:
        report("quality", 0, 2, "")
        report("quality", 1, 2, "")
        assert out.getvalue() == ""
        time.sleep(0.3)
        assert "1/1 quality: 1/2" in out.getvalue()
        report("quality", 2, 2, "7 documents left")
    assert out.getvalue().endswith("1/1 quality: 2/2, 7 documents left\n")


def test_every_stage_of_a_run_is_one_that_was_announced(recipe):
    announced = stages(recipe())
    assert announced[:4] == ["read_files", "normalise, quality", "exact_duplicates",
                             "near_duplicates"]
    assert corpus_stages(read_recipe(recipe())) == announced[:5]
    out = io.StringIO()
    with bars(announced, Console(file=out, width=200)) as report:
        curate(recipe(), report)
    told = [line.split(":")[0] for line in out.getvalue().splitlines()]
    assert told == [f"{n}/{len(announced)} {name}" for n, name in enumerate(announced, 1)]
    assert "60 of 60 documents left" in out.getvalue()


def test_a_terminal_gets_bars(recipe):
    out = io.StringIO()
    console = Console(file=out, width=120, force_terminal=True)
    with bars(stages(recipe()), console) as report:
        curate(recipe(), report)
    assert "4/10 near_duplicates" in out.getvalue() and "60 of 60 documents left" in out.getvalue()
