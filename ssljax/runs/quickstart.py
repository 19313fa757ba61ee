"""The whole journey on one machine: the verbs one after another, finished stages skipped.

Every stage is the command that a user would type, printed before it runs; the folder it makes and
the seconds it took are in <workdir>/stages.json, so that the same command continues where an
interrupted one stopped.
"""

import json
import pathlib
import re
import shlex
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Sequence

from ssljax.core.errors import DataError, Interrupted, SsljaxError
from ssljax.core.files import read_json_lines, write_json
from ssljax.sources import token_shards
from ssljax.sources.manifest import read_manifest
from ssljax.tokenizers import bpe

CONFIG = "experiments/gpt/quickstart.py"
TRIAL_STEPS = 20            # of the run that measures this machine's speed
MIN_STEPS = 40              # enough for the curves to be curves
START_S = 15.0              # of the training stage before its second step: imports, compilation
AFTER_TRAINING_S = 65.0     # evaluation, export, serving and report on two cores
PROMPTS, PROMPT_CHARS = 4, 48


class StageError(SsljaxError):
    """A stage of the journey failed; its own message is above."""


class Stages:
    """The record of what is done: <workdir>/stages.json, {stage: {"seconds", "command"}}."""

    def __init__(self, workdir: pathlib.Path):
        """Read the record of `workdir`, if it has one."""
        self.path = workdir / "stages.json"
        self.done = json.loads(self.path.read_text()) if self.path.is_file() else {}

    def run(self, name: str, command: Sequence[str], work: Callable[[], None]) -> None:
        """Do `work` unless the same command is on record; record it with its seconds."""
        text = shlex.join(command)
        if self.done.get(name, {}).get("command") == text:
            print(f"\n[{name}] already done.", flush=True)
            return
        print(f"\n[{name}] {text}", flush=True)
        began = time.monotonic()
        work()
        seconds = time.monotonic() - began + self.done.get(name, {}).get("seconds", 0.0)
        self.done[name] = {"seconds": round(seconds, 2), "command": text}
        write_json(self.path, self.done)

    def verb(self, name: str, *arguments: str | pathlib.Path) -> None:
        """Run `ssljax <arguments>` as a child process and record it as stage `name`."""
        command = ["ssljax", *map(str, arguments)]
        self.run(name, command, lambda: run_verb(name, command))

    def seconds(self) -> float:
        """Return the seconds of all stages on record."""
        return sum(stage["seconds"] for stage in self.done.values())


def run_verb(name: str, command: Sequence[str]) -> None:
    """Run a verb in a child process: each stage has its own memory, and Ctrl-C reaches it alone.

    Raises:
        Interrupted: it was asked to stop and saved.
        StageError: it failed.
    """
    child = subprocess.Popen([sys.executable, "-m", "ssljax.cli.main", *command[1:]])
    try:
        code = child.wait()
    except KeyboardInterrupt:
        child.wait()          # the terminal has sent it the same Ctrl-C; let it save
        code = 130
    if code in (75, 130, -2, -15):
        raise Interrupted(f"Stopped in stage {name}; run the same command again to continue.",
                          130 if code in (130, -2) else 75)
    if code:
        raise StageError(f"Stage {name} failed with exit code {code}; its message is above. Mend "
                         "the cause and run the same command again: finished stages are kept.")


def training_overrides(data: pathlib.Path) -> list[str]:
    """Return the overrides that point the experiment at a dataset and its vocabulary."""
    vocab_size = -(-read_manifest(data).vocab_size // 64) * 64
    return [f"--config.source.path={data}", f"--config.evals.bits_per_byte.source.path={data}",
            f"--config.model.vocab_size={vocab_size}"]


def measured_step_seconds(run: pathlib.Path) -> float:
    """Return the seconds a step took in a run, by its last logged rates."""
    rows = read_json_lines(run / "metrics.jsonl")[-2:]
    config = json.loads((run / "config.json").read_text())
    tokens = config["batch_size"] * config["pretext"]["seq_len"]
    return tokens * len(rows) / sum(row["tokens_per_second"] for row in rows)


def plan_steps(seconds_left: float, step_seconds: float) -> int:
    """Return how many steps fit into the time left, rounded down to tens."""
    return max(MIN_STEPS, int(seconds_left / step_seconds) // 10 * 10)


def prompts_of(data: pathlib.Path) -> list[str]:
    """Return the beginnings of held-out documents: text that the model has not seen."""
    source = token_shards.make(path=str(data), split="validation", verify="size")
    tokenizer = bpe.make(path=source.tokenizer_path)
    count = min(PROMPTS, len(source))
    records = source.read([i * len(source) // count for i in range(count)])
    texts = [tokenizer.decode_bytes(r["tokens"][:PROMPT_CHARS]).decode(errors="ignore")
             for r in records]
    # Cut between words: half a word is tokenised as nothing that training has shown.
    return [re.sub(r"\S*$", "", text[:PROMPT_CHARS]).rstrip() or "The" for text in texts]


def measure_serving(workdir: pathlib.Path) -> None:
    """Start the server, ask it, and write what it answered and how fast to serve.json."""
    from ssljax.runs.measure_server import measure

    artefact = workdir / "artefact"
    context = json.loads((artefact / "manifest.json").read_text())["max_context"]
    measured = measure(artefact, prompts_of(workdir / "data"), max_tokens=min(64, context // 2))
    write_json(workdir / "serve.json", measured)


def train_stages(stages: Stages, workdir: pathlib.Path, minutes: float, config: str) -> None:
    """Measure the machine's speed in a short trial, then train for the time that is left."""
    data = workdir / "data"
    overrides = training_overrides(data)
    stages.verb("trial", "pretrain", "--config", config, "--workdir", workdir / "trial", *overrides,
                f"--config.total_steps={TRIAL_STEPS}")
    planned = stages.done.get("plan")
    if planned is None:
        left = 60 * minutes - stages.seconds() - START_S - AFTER_TRAINING_S
        steps = plan_steps(left, measured_step_seconds(workdir / "trial"))
        planned = stages.done["plan"] = {"seconds": 0.0, "command": "", "steps": steps}
        write_json(stages.path, stages.done)
    print(f"\n{planned['steps']} steps fit into what is left of {minutes:g} minutes.", flush=True)
    stages.verb("pretrain", "pretrain", "--config", config, "--workdir", workdir / "run",
                *overrides, f"--config.total_steps={planned['steps']}")


def quickstart(source: str | None, workdir: pathlib.Path, *, minutes: float = 5.7,
               config: str = CONFIG) -> None:
    """Take raw text to a served model and a report.

    Args:
        source: a folder of text; the standard library of this Python where None.
        workdir: data/, run/, artefact/, report.html and report.json go here.
        minutes: of the whole journey; training takes what the other stages leave of it.
        config: a language-model experiment, FILE[:ARG].

    Raises:
        DataError: the input cannot be used, or is another than the workdir's.
        StageError: a stage failed.
        Interrupted: stopped; the same command continues.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    stages = Stages(workdir)
    given = str(pathlib.Path(source).absolute() if source else sysconfig.get_path("stdlib"))
    data, run, artefact = workdir / "data", workdir / "run", workdir / "artefact"
    curate = ["curate", "--config", "data_pipelines/text.py", "--input", given, "--output", data]
    before = stages.done.get("curate", {}).get("command")
    if before and before != shlex.join(["ssljax", *map(str, curate)]):
        raise DataError(f"{workdir} was made from other input: {before}. Choose another --workdir.")
    stages.verb("curate", *curate)
    train_stages(stages, workdir, minutes, config)
    stages.verb("evaluate", "evaluate", run)
    stages.verb("export", "export", run, "--output", artefact, "--name", workdir.absolute().name)
    stages.run("serve", ["ssljax", "serve", str(artefact)], lambda: measure_serving(workdir))
    stages.verb("report", "report", workdir)
    print(f"\n{stages.seconds():.0f} s in all. Open {workdir / 'report.html'}; try\n"
          f"  ssljax generate {artefact} --prompt 'def '\n  ssljax serve {artefact}", flush=True)
