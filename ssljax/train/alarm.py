"""An alarm for collapse that sees what a run logs, and never what the run is.

A collapsed method often looks well: its loss falls, to that of a network that says one thing about
every image. What it logs tells (families.health): features that no longer vary, assignments to one
prototype or to all alike, a loss that stopped, gradients that vanished. Each is a rule about one
logged number; the alarm fires when a rule has held for some logged steps in a row, so that the
first steps and single bad batches do not. Nothing here knows the method, the model or the data.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Literal, NamedTuple

from absl import logging

from ssljax.core.errors import SsljaxError

Action = Literal["warn", "stop", "off"]
FIRST, RECENT = 5, 12           # logged values of each number that rules may look at


class Series(NamedTuple):
    """The values of one logged number: the run's first ones, and the latest, the last one last."""

    first: Sequence[float]
    recent: Sequence[float]


History = Mapping[str, Series]


class Rule(NamedTuple):
    """A sign of collapse.

    metrics: which logged numbers it is about, with wildcards
    holds:   (name of the number, all series) -> whether the sign is there
    patience: logged steps in a row for which it must be
    meaning: what it says
    usually: what causes it
    try_:    what helps
    """

    metrics: str
    holds: Callable[[str, History], bool]
    patience: int
    meaning: str
    usually: str
    try_: str


class Alarm(NamedTuple):
    """A rule that has held for its patience: at `step`, since `since`, about `metric`."""

    step: int
    metric: str
    value: float
    since: int
    rule: Rule

    def __str__(self) -> str:
        """Say what was seen, since when, why that happens, and what to try."""
        return (f"Step {self.step}: {self.metric} = {self.value:.4g} since step {self.since}: "
                f"{self.rule.meaning}. Usually {self.rule.usually}; try {self.rule.try_}.")


class CollapsedError(SsljaxError):
    """The alarm ended a run that it says has collapsed; its state is saved."""


def middle(values: Sequence[float]) -> float:
    """Return the median of at least one value."""
    return sorted(values)[len(values) // 2]


def is_low(name: str, history: History) -> bool:
    """Say whether features hardly vary: by themselves, or beside how the run began."""
    now = history[name].recent[-1]
    return now < 0.02 or now < 0.2 * max(history[name].first)


def stays_low(name: str, history: History) -> bool:
    """Say whether features vary little; a network that learns gets out of this."""
    return history[name].recent[-1] < 0.05


def crowds(name: str, history: History) -> bool:
    """Say whether batch-normed projections, spread out by construction, point into one cone.

    SimSiam's stay above 0.85; without its stop-gradient they swing about 0.5 and below.
    """
    latest = history[name].recent[-5:]
    return len(latest) == 5 and middle(latest) < 0.6


def uses_one(name: str, history: History) -> bool:
    """Say whether all images together use one or two prototypes, whatever the number there is."""
    return history[name].recent[-1] > 0.9


def tells_nothing(name: str, history: History) -> bool:
    """Say whether which prototype an image gets tells nothing about the image.

    What it tells is the entropy of the mean assignment less the mean entropy of one. It is 0 in
    both collapses, all images to one prototype or each to all alike, and anywhere between: DINO
    without its centre comes to rest at an entropy of 0.17 and a divergence of 0.82. A sound one can
    tell little for long, 0.03 at first, but then it uses all prototypes.
    """
    entropy = history.get(name.replace("_kl_uniform", "_entropy"))
    divergence = history[name].recent[-1]
    least = 0.03 if divergence > 0.5 else 0.01
    return entropy is not None and 1 - divergence - entropy.recent[-1] < least


def is_still(name: str, history: History) -> bool:
    """Say whether a number no longer moves, not even by what the batch changes."""
    values = history[name].recent
    if len(values) < 10:
        return False
    return max(values) - min(values) < 1e-4 * max(abs(middle(values)), 1e-8)


def is_solved(name: str, history: History) -> bool:
    """Say whether the loss is a thousandth of what it began with: nothing real is that easy."""
    return abs(history[name].recent[-1]) < 1e-3 * max(map(abs, history[name].first))


def vanished(name: str, history: History) -> bool:
    """Say whether gradients are a thousandth of what they were at first."""
    return history[name].recent[-1] < 1e-3 * middle(history[name].first)


RULES = (
    Rule("*_std", is_low, 3, "embeddings of all images are nearly one vector",
         "a missing stop-gradient or predictor, a learning rate far too high, or a weight of the "
         "variance that is too small",
         "a lower optim.lr, a longer schedule.warmup_steps, and the method's own defaults"),
    Rule("*_std", stays_low, 8, "embeddings of all images stay close to one vector",
         "a learning rate far too high, or too few steps since the start",
         "a lower optim.lr and a longer schedule.warmup_steps"),
    Rule("projection_std", crowds, 1, "projections of all images point into one cone",
         "a missing stop-gradient", "the method's own defaults, and a lower optim.lr"),
    Rule("*_kl_uniform", uses_one, 3, "nearly all images are assigned to one prototype",
         "assignments that nothing keeps even (no centring, no Sinkhorn), or a teacher that "
         "follows too fast",
         "a centre with less momentum or centring='sinkhorn', and a teacher momentum nearer 1"),
    Rule("*_kl_uniform", tells_nothing, 5, "assignments are the same for every image",
         "assignments that nothing keeps even (no centring, no Sinkhorn), a teacher temperature "
         "that is too high, or features that no longer vary",
         "a centre with less momentum or centring='sinkhorn', a lower teacher temperature, and a "
         "lower optim.lr"),
    Rule("loss", is_still, 1, "the loss does not move, not even from batch to batch",
         "a network whose output no longer depends on its input",
         "a lower optim.lr, a longer schedule.warmup_steps, and clip_norm"),
    Rule("loss", is_solved, 3, "the loss is a thousandth of what it was",
         "a shortcut: outputs that shrink to nothing, or all views answered alike",
         "the terms that keep embeddings apart: their weight, the predictor, the stop-gradient"),
    Rule("grad_norm", vanished, 3, "gradients are a thousandth of what they were",
         "a network whose output no longer depends on its input",
         "a lower optim.lr, and a look at the metrics of collapse beside it"),
)
READ = ("*_std", "*_kl_uniform", "*_entropy", "loss", "grad_norm")      # what rules look at


def signs(history: History, rules: Sequence[Rule] = RULES) -> list[tuple[int, str]]:
    """Return (number of the rule, metric) for every sign that is there at the latest step."""
    return [(number, name) for number, rule in enumerate(rules) for name in history
            if fnmatchcase(name, rule.metrics) and rule.holds(name, history)]


class Watch:
    """Takes the numbers of every logged step in turn; says which alarms begin with it."""

    def __init__(self, rules: Sequence[Rule] = RULES):
        """Begin where nothing has been seen."""
        self._rules = rules
        self._history: dict[str, Series] = {}
        self._since: dict[tuple[int, str], tuple[int, int]] = {}    # sign -> first step, how often
        self._lasting: dict[str, Alarm] = {}

    def __call__(self, step: int, scalars: Mapping[str, float]) -> list[Alarm]:
        """Return the alarms that begin at this step; a metric has one at a time, told once."""
        for name, value in scalars.items():
            if not any(fnmatchcase(name, pattern) for pattern in READ):
                continue
            series = self._history.get(name, Series((), ()))
            if math.isfinite(value):
                first = series.first if len(series.first) == FIRST else (*series.first, value)
                self._history[name] = Series(first, (*series.recent, value)[-RECENT:])
        seen = {name: s for name, s in self._history.items() if len(s.first) == FIRST}
        there = signs(seen, self._rules)
        self._since = {sign: self._since.get(sign, (step, 0)) for sign in there}
        self._since = {sign: (since, times + 1) for sign, (since, times) in self._since.items()}
        before, self._lasting = self._lasting, {}
        for (number, name), (since, times) in self._since.items():
            if times >= self._rules[number].patience:
                alarm = Alarm(step, name, seen[name].recent[-1], since, self._rules[number])
                self._lasting.setdefault(name, alarm)
        return [alarm for name, alarm in self._lasting.items() if name not in before]

    def lasting(self) -> int:
        """Return of how many numbers there is an alarm now, begun or lasting."""
        return len(self._lasting)


class Bell:
    """What a run does about its alarms: a line in the log, and with "stop" the end."""

    def __init__(self, action: Action, *, log: bool = True):
        """Begin silent.

        Args:
            action: "warn" logs, "stop" ends the run as well, "off" does not even look.
            log: whether this process logs; each decides alike, since all see the same numbers.
        """
        self._watch, self._action, self._log = Watch(), action, log
        self._reason: Alarm | None = None

    def hear(self, step: int, scalars: Mapping[str, float]) -> dict[str, float]:
        """Take the numbers of a logged step; return {"alarms": how many there are now}."""
        if self._action == "off":
            return {}
        for alarm in self._watch(step, scalars):
            self._reason = self._reason or alarm
            if self._log:
                logging.warning("Collapse alarm. %s", alarm)
        return {"alarms": float(self._watch.lasting())}

    def recall(self, rows: Iterable[Mapping[str, float]]) -> None:
        """Take up what the run logged before it was continued, in silence.

        What lasts is counted on as if the run had never stopped; what was told is not told again.

        Args:
            rows: of metrics.jsonl, with "step"; those of evaluators, named "label/figure", are
                none of the alarm's.
        """
        if self._action == "off":
            return
        for row in rows:
            if "loss" in row:
                self._watch(int(row["step"]), {name: value for name, value in row.items()
                                               if isinstance(value, float) and "/" not in name})

    def verdict(self) -> CollapsedError | None:
        """Return the error to end the run with, once its state is saved; None to go on."""
        if self._action != "stop" or self._reason is None:
            return None
        return CollapsedError(f"{self._reason} Stopped and saved because alarm = 'stop'; continue "
                              "with --config.alarm=warn if this is no collapse.")
