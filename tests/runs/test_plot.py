"""One file has the curves, figures, configs and wall time of runs, and needs nothing else."""

import html.parser
import re
import subprocess
import sys

import pytest

from ssljax.core.errors import ConfigError
from ssljax.runs.plot import plot
from tests.runs.folders import line, make_run


def rows(scale: float) -> list[dict]:
    """Return the log of a run whose loss falls to `scale`."""
    return [{"step": s, "loss": scale * 100 / s, "grad_norm": 1 / s, "tokens_per_second": 100.0}
            for s in range(10, 101, 10)]


@pytest.fixture
def folders(tmp_path):
    a = make_run(tmp_path / "a", metrics=rows(2.0), ledger=[
        line("running", time=50, step=40, seconds={"start": 10, "step": 40}),
        line("finished", time=160, step=100, attempt=1, began=60.0, resumed_at=40,
             seconds={"restore": 10, "step": 90})])
    b = make_run(tmp_path / "b<i>", metrics=[*rows(1.0), {"step": 100, "knn/accuracy": 0.75}],
                 config={"optim": {"name": "muon", "lr": 0.004}})
    return [a, b]


def written(folders, **options) -> str:
    out = folders[0].parent / "compare.html"
    plot(folders, out, **options)
    return out.read_text()


class Page(html.parser.HTMLParser):
    """The tags that are open, and what would be fetched."""

    def __init__(self, text: str):
        super().__init__()
        self.open, self.fetched = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        if tag not in ("meta", "path", "rect", "line"):
            self.open.append(tag)
        if tag in ("script", "link", "img", "iframe"):
            self.fetched.append(tag)
        self.fetched += [v for k, v in attrs if k in ("src", "href")]

    def handle_endtag(self, tag):
        if self.open and self.open[-1] == tag:
            self.open.pop()


def test_the_page_is_one_sound_file_without_outside_parts(folders):
    text = written(folders, weight=0.5)
    page = Page(text)
    assert (page.open, page.fetched) == ([], [])
    assert "http" not in text and "url(" not in text and "@import" not in text
    assert "b<i>" not in text and "b&lt;i&gt;" in text


def test_each_metric_has_a_chart_with_a_curve_a_run(folders):
    text = written(folders)
    titles = re.findall(r"<figcaption><b>([^<]+)</b>", text)
    assert titles == ["loss", "knn/accuracy", "grad_norm", "tokens_per_second"]
    loss = text.partition("<figcaption><b>loss</b>")[2].partition("</figure>")[0]
    assert re.findall(r'class="line (\w+)"', loss) == ["c0", "c1"]
    assert "<title>step 50: \na: 4.000\nb&lt;i&gt;: 2.000</title>" in loss
    assert "not logged by a<" in text
    assert 'class="line faint' not in text


def test_few_points_are_not_smoothed_and_many_are_with_the_log_behind(folders):
    assert "faint c0" in written(folders, metrics=["loss"], weight=0.5)
    assert "faint c0" not in written(folders, metrics=["loss"], weight=0.9)      # ten points


def test_last_and_best_values_config_and_wall_time_are_told(folders):
    text = written(folders, metrics=["loss"])
    assert "Of 2 runs, b&lt;i&gt; has the lowest last loss: 1.000." in text
    values = "<td>{}</td>" * 6
    assert values.format("2.000", 100, "2.000", 100, "20.00", 10) in text
    assert "<td>optim.lr</td><td>0.001</td><td>0.004</td>" in text
    assert "<td>optim.name</td><td>adamw</td><td>muon</td>" in text
    assert "<td>seed</td>" not in text
    # 130 of 160 seconds were steps, 10 nobody ran.
    assert "goodput 81.2" in text
    assert re.search(r'part-step" x="12\.500" width="81\.250"', text)
    assert re.search(r'part-down" x="93\.750" width="6\.250"', text)


def test_losses_of_different_objectives_are_not_ranked(folders, tmp_path):
    c = make_run(tmp_path / "c", metrics=rows(0.1), config={"objective": {"name": "mae"}})
    assert "several objectives, whose losses do not compare" in written([*folders, c])


def test_a_logarithmic_axis_leaves_out_what_it_cannot_show(tmp_path):
    run = make_run(tmp_path / "a", metrics=[{"step": s, "loss": x} for s, x in
                                            ((1, 100.0), (2, 0.0), (3, 1.0))])
    text = written([run], log=True)
    assert re.search(r'class="line c0" d="M333\.3 0\.0L1000\.0 400\.0"', text)
    none = make_run(tmp_path / "b", metrics=[{"step": 1, "loss": -1.0}])
    assert "nothing to draw" in written([none], log=True)


@pytest.mark.parametrize("options, message", [({"weight": 1.0}, "--smooth 1.0; expected 0"),
                                              ({"axis": "epoch"}, "--x epoch; expected one of"),
                                              ({"metrics": ["lss"]}, 'did you mean "loss"')])
def test_options_that_cannot_be_are_refused(folders, options, message):
    with pytest.raises(ConfigError, match=message):
        written(folders, **options)


def test_the_verb_writes_the_page_without_loading_jax(folders, tmp_path):
    code = ("import sys; from ssljax.cli.main import main; code = main(sys.argv[1:]); "
            "assert 'jax' not in sys.modules; sys.exit(code)")
    done = subprocess.run(
        [sys.executable, "-c", code, "plot", "a", "b<i>", "--metric", "loss", "--x", "tokens",
         "--smooth", "0.5", "--log", "--out", "c.html"], cwd=tmp_path, capture_output=True,
        text=True)
    assert (done.returncode, done.stdout) == (0, "Wrote c.html.\n"), done.stderr
    assert "<figcaption><b>loss</b>" in (tmp_path / "c.html").read_text()
    wrong = subprocess.run([sys.executable, "-c", code, "plot", "aa"], cwd=tmp_path,
                           capture_output=True, text=True)
    assert wrong.returncode == 1
    assert wrong.stderr == 'ssljax plot: aa is not a run folder; did you mean "a"?\n'
