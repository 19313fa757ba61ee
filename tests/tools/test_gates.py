"""The gates' verdicts: what is below a bar is never called met."""

import pathlib
import sys

GATES = pathlib.Path(__file__).parents[2] / "tools/gates"
sys.path.insert(0, str(GATES))
import page  # noqa: E402  scripts beside others, not a package
import verdicts  # noqa: E402
import vision  # noqa: E402

sys.path.remove(str(GATES))


def test_a_table_replaces_what_stood_between_its_marks(tmp_path, monkeypatch):
    monkeypatch.setattr(page, "PAGE", tmp_path / "results.md")
    page.PAGE.write_text("a\n<!-- x: begin -->\nold\n<!-- x: end -->\nb <!-- y: begin -->\n")
    page.write_between("x", "new")
    page.write_between("x", "newer")
    assert page.PAGE.read_text() == (
        "a\n<!-- x: begin -->\nnewer\n<!-- x: end -->\nb <!-- y: begin -->\n")


def test_a_row_has_the_figures_of_the_last_step_that_was_judged():
    figure = {"value": .4, "low": .3, "high": .5}
    stored = {"latest": 20, "baselines": {}, "steps": {
        "10": {"evals": {"knn": {"knn": {"value": 0.1}}}},
        "20": {"evals": {"knn": {"knn": figure, "knn_raw_pixels": figure}, "health": {}}}}}
    assert vision.numbers(stored) == {"knn": figure, "knn_raw_pixels": figure}


def row(seed, linear, knn=.40, **more):
    found = {"linear": linear, "linear_raw_pixels": .39, "linear_random_init": .33,
             "knn": knn, "knn_random_init": .30, **more}
    return {"method": "x", "seed": seed, "cpu_minutes": 7.0, "judgements": {
        name: {"value": v, "low": v - .01, "high": v + .01} for name, v in found.items()}}


def test_a_clear_margin_is_met():
    gate = verdicts.Gate("joint", (0, 1, 2))
    assert verdicts.verdict(gate, [row(s, .46 + s / 1000) for s in range(3)]) == "met"


def test_a_mean_above_the_bar_with_a_wide_spread_is_missed():
    gate = verdicts.Gate("joint", (0, 1, 2))
    said = verdicts.verdict(gate, [row(0, .41), row(1, .44), row(2, .47)])
    assert "missed" in said and "linear_raw_pixels" in said


def test_a_run_that_took_too_long_is_never_met():
    said = verdicts.verdict(verdicts.Gate("joint", (0,)), [row(0, .46) | {"cpu_minutes": 8.2}])
    assert said == "**over** 8 CPU-minutes: 8.2"


def test_one_seed_is_judged_by_its_test_images_alone():
    gate = verdicts.Gate("joint", (0,))
    assert verdicts.verdict(gate, [row(0, .445)]) == "met"
    assert "missed" in verdicts.verdict(gate, [row(0, .435)])


def test_features_worse_than_pixels_are_marked_where_no_bar_asks():
    assert verdicts.verdict(verdicts.Gate("other", (0,)), [row(0, .37)]) == (
        "met; **below raw pixels**: -2.0 points")


def test_neighbours_worse_than_those_of_an_untrained_network_are_marked():
    assert verdicts.verdict(verdicts.Gate("other", (0,)), [row(0, .40, knn=.28)]) == (
        "met; **k-NN below untrained**: -2.0 points")


def test_a_row_of_another_recipe_than_todays_is_marked_and_measured_again():
    now = {"method": "simclr", "seed": 0, "recipe": vision.recipe_now("simclr"),
           "cpu_minutes": 5.0, "judgements": row(0, .5)["judgements"]}
    assert "old recipe" not in vision.page_of([now])
    assert "**old recipe**" in vision.page_of([now | {"recipe": "of last week"}])
    missing = vision.left(["simclr"], [now, now | {"seed": 1, "recipe": "of last week"}])
    assert missing == [vision.Run("simclr", 1), vision.Run("simclr", 2)]


def test_what_was_not_judged_is_never_met():
    gate = verdicts.Gate("rotation", (0,))
    assert "not judged" in verdicts.verdict(gate, [row(0, .6)])
    assert verdicts.verdict(gate, []) == "not run yet"


def test_what_reads_class_names_is_never_shown_as_unlabelled():
    for method in ("clip", "siglip"):
        gate = vision.GATES[method]
        assert "sees labels" in verdicts.verdict(gate, [row(0, .5)])
        assert "sees labels" in verdicts.verdict(gate, [row(0, .3)])
    assert verdicts.verdict(vision.GATES["simclr"], [row(0, .5)]) == "met (2 seeds to come)"


def test_an_error_must_be_below_its_baseline():
    gate = verdicts.Gate("masked", (0,))
    below = row(0, .5, masked_error=.020, masked_error_neighbours=.05)
    above = row(0, .5, masked_error=.06, masked_error_neighbours=.05)
    assert verdicts.verdict(gate, [below]) == "met"
    assert "missed" in verdicts.verdict(gate, [above])


def test_the_table_has_a_line_for_every_method_and_says_which_seeds_are_missing():
    gates = {"a": verdicts.Gate("joint", (0, 1, 2)), "b": verdicts.Gate("other", (0,))}
    text = verdicts.table(gates, [row(0, .5) | {"method": "a"}])
    assert "| a | one seed |" in text and "2 seeds to come" in text
    assert "| b |  |" in text and "not run yet" in text
