"""Checkpoints through Orbax (v1): asynchronous, atomic, verified before they are trusted.

One directory per step under the root: the state, the resolved config, the data fingerprint, the
judgements and the versions of that step, and checksums of all of them. Restoring takes the newest
step that passes verification; damaged ones are moved to quarantine/, never deleted. The root may be
a bucket (gs://..., s3://...): every access goes through etils or tensorstore.
"""

import itertools
import shutil
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import jax
from absl import logging
from etils import epath
from jax.experimental import multihost_utils
from orbax.checkpoint import v1 as ocp

from ssljax.core.errors import CheckpointError
from ssljax.core.tree import named_leaves
from ssljax.core.types import PyTree, TrainState
from ssljax.train import integrity
from ssljax.train.bucket import open_root, scheme
from ssljax.train.retention import Retention

JSON_ITEMS = ("config", "data", "judgements", "versions")
TIMEOUT_S = 600
FAILURES = 2            # failed saves in a row that end a run: one may be a passing fault
SPARE = 1.1             # free bytes a save needs, as a multiple of the state's
TEMPORARY = ".orbax-checkpoint-tmp"


def explain(err: BaseException) -> str:
    """Return the cause of a failed save in the user's words."""
    if isinstance(err, CheckpointError):
        return str(err)
    text = str(err)
    if "RESOURCE_EXHAUSTED" in text or "No space left" in text:
        return "the disk is full; free some space"
    if isinstance(err, PermissionError) or "Permission denied" in text or "Read-only" in text:
        return "the folder is not writable; change its permissions or the workdir"
    if isinstance(err, TimeoutError) or "DEADLINE_EXCEEDED" in text:
        return "another process did not take part in time; look at its log"
    return f"{type(err).__name__}: {text.splitlines()[0][:300] if text else ''}"


def step_dirs(root: epath.PathLike) -> dict[int, epath.Path]:
    """Return the finished steps under `root`, oldest first."""
    root = open_root(root)
    names = [p for p in root.iterdir() if p.name.isdigit()] if root.is_dir() else []
    return {int(p.name): p for p in sorted(names, key=lambda p: int(p.name))}


def newest_sound(root: epath.PathLike, *, step: int | None = None, before: int | None = None,
                 ) -> tuple[int | None, list[str]]:
    """Return the newest undamaged step (or `step` itself), and what is wrong with newer ones.

    Args:
        root: the folder of the steps.
        step: the only one that will do.
        before: only steps below it will do.

    Raises:
        CheckpointError: `step` was asked for and is absent or damaged.
    """
    steps, problems = step_dirs(root), []
    if step is not None and step not in steps:
        raise CheckpointError(f"{root} has no step {step}; it has "
                              f"{', '.join(map(str, steps)) or 'none'}.")
    candidates = [s for s in reversed(steps) if before is None or s < before]
    for number in candidates if step is None else [step]:
        damage = integrity.find_damage(steps[number])
        if damage is None:
            return number, problems
        problems.append(f"checkpoint {steps[number]} is damaged: {damage}")
    if step is not None:
        raise CheckpointError(f"{problems[0]}. Leave --step out to use the newest good one.")
    return None, problems


def check_space(root: epath.Path, state: TrainState) -> None:
    """Raise CheckpointError if a save cannot fit on the disk; a bucket has no end."""
    if scheme(root):
        return
    needed = sum(x.nbytes for x in jax.tree.leaves(state._replace(key=())))
    free = shutil.disk_usage(root).free
    if free < SPARE * needed:
        raise CheckpointError(
            f"{root} has {free / 2**20:,.0f} MiB free and a checkpoint takes "
            f"{needed / 2**20:,.0f} MiB; free some space or keep fewer (keep_checkpoints)")


def differences(saved: PyTree, wanted: PyTree) -> list[str]:
    """Return how two trees of shaped leaves differ, by leaf name."""
    def form(x: Any) -> str:
        return f"{x.dtype}{list(x.shape)}"

    a, b = ({n: form(x) for n, x in named_leaves(t).items()} for t in (saved, wanted))
    names = sorted(a.keys() | b.keys(), key=lambda n: (not n.startswith("params"), n))
    return [f"{n}: checkpoint has {a.get(n, 'nothing')}, this run {b.get(n, 'nothing')}"
            for n in names if a.get(n) != b.get(n)]


def orbax_context() -> ocp.Context:
    """Return options verified against this version of Orbax.

    Without the registry, dicts go to the array handler; asynchronous directory creation hangs at
    exit when the folder is not writable; compression takes a core's second for 8 % of the bytes of
    float32 weights, while training goes on beside it.
    """
    registry = ocp.handlers.local_registry()
    for name in JSON_ITEMS:
        registry.add(ocp.handlers.JsonHandler, checkpointable_name=name)
    context = ocp.Context()
    context.checkpointables.registry = registry
    context.array.saving.use_compression = False
    context.asynchronous.timeout_secs = TIMEOUT_S
    context.asynchronous.create_directories_asynchronously = False
    return context


def load_items(step_dir: epath.Path) -> dict[str, Any]:
    """Return the JSON items of a step."""
    with orbax_context():
        return ocp.load_checkpointables(step_dir, dict.fromkeys(JSON_ITEMS))


def load_step(step_dir: epath.Path, state: TrainState, *, skip: Sequence[str] = (),
              ) -> tuple[TrainState, dict[str, Any]]:
    """Return the state of a step, laid out as the abstract `state` says, and its JSON items.

    Args:
        step_dir: a finished, verified step.
        state: ShapeDtypeStructs with shardings.
        skip: fields that are not read, and come back as Orbax's placeholder.

    Raises:
        CheckpointError: its leaves differ from `state` in name, shape or dtype.
    """
    unread = {name: jax.tree.map(lambda _: ocp.PLACEHOLDER, getattr(state, name)) for name in skip}
    with orbax_context():
        saved = ocp.checkpointables_metadata(step_dir).metadata["state"]
        found = differences(comparable(saved, skip), comparable(state._asdict(), skip))
        if found:
            raise CheckpointError(
                f"Checkpoint {step_dir} does not fit this config:\n  " + "\n  ".join(found[:8])
                + (f"\n  and {len(found) - 8} more" if len(found) > 8 else "")
                + "\nUse the config it was written with, or another --workdir.")
        target = state._replace(**unread)
        out = ocp.load_checkpointables(step_dir, {"state": target, **dict.fromkeys(JSON_ITEMS)})
    restored = out.pop("state")
    if int(restored.step) != int(step_dir.name):
        raise CheckpointError(f"Checkpoint {step_dir} holds step {int(restored.step)}; it was "
                              "renamed or mixed up. Restore its old name.")
    return restored, out


def comparable(fields: Mapping[str, Any], skip: Sequence[str]) -> dict[str, Any]:
    """Return the fields of a state that are read, but for the key, whose form is Orbax's own."""
    return {name: value for name, value in fields.items() if name not in ("key", *skip)}


class Checkpoints:
    """The checkpoints of one run; made on every process, closed with `close`."""

    def __init__(self, root: epath.PathLike, *, retention: Retention | None = None):
        """Open or create `root`; unfinished saves of a killed run are swept away.

        Args:
            root: the folder or bucket of the steps.
            retention: which finished steps stay; the three newest unless told.

        Raises:
            CheckpointError: the folder cannot be written.
        """
        self.root = open_root(root)
        self._retention = retention or Retention()
        self._saving: int | None = None
        self._failures = 0
        self._judgements: dict[int, Mapping[str, float]] = {}
        self._deleting: threading.Thread | None = None
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            probe = self.root / f".writable-{jax.process_index()}"
            probe.write_bytes(b"")
            probe.unlink()
        except OSError as err:
            raise CheckpointError(f"Cannot write checkpoints to {root}: {err.strerror}. Choose "
                                  "another --workdir or change its permissions.") from err
        self._orbax = ocp.training.Checkpointer(
            self.root, context=self._context(), cleanup_tmp_directories=True,
            save_decision_policy=ocp.training.save_decision_policies.FixedIntervalPolicy(1),
            preservation_policy=ocp.training.preservation_policies.PreserveAll())

    def _context(self) -> ocp.Context:
        context = orbax_context()
        # Orbax copies its context deeply: a bound method would take a copy of this object along.
        context.asynchronous.post_finalization_callback = lambda: self._on_finalize()
        return context

    def _on_finalize(self) -> None:
        """Write the checksums when all files are final and before the step gets its name.

        In a bucket nothing can be renamed: the step has its name from the start there, and counts
        from the moment it has its checksums.
        """
        temporary = self.root / f"{self._saving}{TEMPORARY}"
        folder = self.root / str(self._saving) if scheme(self.root) else temporary
        integrity.write_checksums(folder)

    def save(self, state: TrainState, step: int, items: Mapping[str, Any]) -> None:
        """Start saving `state` and the JSON items; returns when the arrays have been copied.

        A single failure is logged and training goes on to the next checkpoint.

        Args:
            state: the state after `step` steps.
            step: its number; every process must call with the same.
            items: one JSON value for each of JSON_ITEMS.

        Raises:
            CheckpointError: FAILURES saves in a row failed.
        """
        try:
            self.wait()
        except CheckpointError as err:
            self._forgive(err)
        self._saving = step
        try:
            check_space(self.root, state)
            self._orbax.save_checkpointables_async(step, {"state": state, **items})
            self._judgements[step] = items["judgements"]
        except (ValueError, OSError, TimeoutError, CheckpointError) as err:
            self._saving = None
            self._forgive(CheckpointError(
                f"Checkpoint {step} in {self.root} failed: {explain(err)}."), err)

    def _forgive(self, failure: CheckpointError, cause: BaseException | None = None) -> None:
        """Count a failed save; raise it if there were too many in a row."""
        self._failures += 1
        if self._failures >= FAILURES:
            raise failure from cause
        logging.error("%s The run goes on; the next failure in a row ends it.", failure)

    def wait(self) -> None:
        """Return when the save in progress is on disk, and drop what need not stay.

        Raises:
            CheckpointError: it failed.
        """
        if self._saving is None:
            return
        step = self._saving
        try:
            self._orbax.wait()
        except (ValueError, OSError, TimeoutError) as err:
            raise CheckpointError(f"Checkpoint {step} in {self.root} failed: "
                                  f"{explain(err)}. Older checkpoints are untouched.") from err
        finally:
            self._saving = None
        self._failures = 0
        self._prune()

    def _prune(self) -> None:
        """Delete the steps that need not stay, in the background."""
        if self._deleting is not None:
            self._deleting.join()
        if jax.process_index():
            return
        steps = step_dirs(self.root)
        kept = self._retention.kept({s: self._judgements.get(s, {}) for s in steps})
        doomed = [path for step, path in steps.items() if step not in kept]
        self._deleting = threading.Thread(target=lambda: [delete_step(p) for p in doomed])
        self._deleting.start()

    def choose(self, *, before: int | None = None) -> int | None:
        """Return the newest sound step below `before`, the same everywhere.

        Newer ones are damaged, or will be trained again: they are moved to quarantine/.
        """
        chosen = -1
        if jax.process_index() == 0:
            sound, problems = newest_sound(self.root, before=before)
            chosen = -1 if sound is None else sound
            for problem in problems:
                logging.warning("%s; using %s instead.", problem,
                                f"step {chosen}" if chosen >= 0 else "a fresh start")
            self._quarantine(chosen)
            self._judgements = {step: load_items(path)["judgements"]
                             for step, path in step_dirs(self.root).items()
                             if self._retention.best and integrity.find_damage(path) is None}
        if jax.process_count() > 1:
            chosen = int(multihost_utils.broadcast_one_to_all(chosen))
        self._orbax.reload()
        return None if chosen < 0 else chosen

    def _quarantine(self, newest_good: int) -> None:
        """Move steps newer than the newest good one aside, so that their numbers are free again."""
        folder = self.root / "quarantine"
        for number, path in step_dirs(self.root).items():
            if number > newest_good:
                folder.mkdir(exist_ok=True)
                names = (folder / f"{number}-{n}" for n in itertools.count())
                path.rename(next(name for name in names if not name.exists()))

    def load(self, step: int, state: TrainState) -> tuple[TrainState, dict[str, Any]]:
        """Return the state of `step` and its JSON items; see `load_step`."""
        return load_step(self.root / str(step), state)

    def close(self) -> None:
        """Finish the save in progress and release Orbax's threads."""
        try:
            self.wait()
        finally:
            if self._deleting is not None:
                self._deleting.join()
            self._orbax.close()


def delete_step(path: epath.Path) -> None:
    """Delete a step so that a crash in between leaves nothing that looks whole."""
    (path / integrity.NAME).unlink(missing_ok=True)
    path.rmtree()
