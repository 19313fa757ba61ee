"""Which row is whose: exact counts, every row of a part once and in order, stages anywhere."""

import numpy as np
import pytest

from ssljax.core.errors import ConfigError
from ssljax.data.mixture import BLOCK, make_schedule

STAGES = [(0, (0.7, 0.3, 0.0)), (20_000, (0.2, 0.3, 0.5)), (70_001, (1.0, 0.0, 0.0)),
          (70_010, (1 / 3, 1 / 3, 1 / 3))]


def test_every_row_of_a_part_is_used_once_and_in_order_across_stages():
    part, number = make_schedule(STAGES).rows(0, 120_000)
    for p in range(3):
        mine = number[part == p]
        assert np.array_equal(mine, np.arange(len(mine)))


@pytest.mark.parametrize("weights", [(0.55, 0.45), (1 / 3, 2 / 3), (0.9, 0.0999, 0.0001 * 1.3),
                                     (0.0, 1.0), (5, 3, 2)])
def test_counts_stay_within_two_rows_of_the_weights(weights):
    rows = 3 * BLOCK + 100
    part, _ = make_schedule([(0, weights)]).rows(0, rows)
    share = np.array(weights) / sum(weights)
    seen = np.cumsum(part[:, None] == np.arange(len(weights)), axis=0)
    assert np.abs(seen - np.arange(1, rows + 1)[:, None] * share).max() < 2


@pytest.mark.parametrize("width", [1, 37, BLOCK + 1])
def test_rows_do_not_depend_on_how_they_are_asked_for(width):
    schedule, first, last = make_schedule(STAGES), 69_900, 70_100 + 2 * width
    asked = [schedule.rows(a, min(a + width, last)) for a in range(first, last, width)]
    whole = schedule.rows(first, last)
    for at in range(2):
        assert np.array_equal(np.concatenate([rows[at] for rows in asked]), whole[at])


def test_far_rows_cost_no_more_and_are_exact():
    part, number = make_schedule([(0, (0.25, 0.75))]).rows(4 * 10**15, 4 * 10**15 + 8)
    assert sorted(part.tolist()) == [0, 0, 1, 1, 1, 1, 1, 1]
    assert number[part == 0].tolist() == [10**15, 10**15 + 1]


@pytest.mark.parametrize("rows", [0, 1, 19_999, 20_000, 70_005, 100_000])
def test_totals_are_those_of_the_rows(rows):
    schedule = make_schedule(STAGES)
    part, _ = schedule.rows(0, max(rows, 1))
    assert schedule.dealt(rows) == np.bincount(part[:rows], minlength=3).tolist()


def test_a_weight_that_no_block_can_hold_is_refused():
    with pytest.raises(ConfigError, match="1e-05 of all rows is too small; use 0, or at least"):
        make_schedule([(0, (1 - 1e-5, 1e-5))])
