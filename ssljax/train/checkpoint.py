"""Checkpoints through Orbax (v1): asynchronous, atomic, verified before they are trusted.

One directory per step under <workdir>/checkpoints: the state, the resolved config, the data
fingerprint and the versions that wrote it, and checksums of all of them. Restoring takes the newest
step that passes verification; damaged ones are moved to quarantine/, never deleted.
"""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
from absl import logging
from jax.experimental import multihost_utils
from orbax.checkpoint import v1 as ocp

from ssljax.core.errors import CheckpointError
from ssljax.core.tree import named_leaves
from ssljax.core.types import PyTree, TrainState
from ssljax.train import integrity

JSON_ITEMS = ("config", "data", "versions")
TIMEOUT_S = 600
TEMPORARY = ".orbax-checkpoint-tmp"


def explain(err: BaseException) -> str:
    """Return the cause of a failed save in the user's words."""
    text = str(err)
    if "RESOURCE_EXHAUSTED" in text or "No space left" in text:
        return "the disk is full; free some space"
    if isinstance(err, PermissionError) or "Permission denied" in text or "Read-only" in text:
        return "the folder is not writable; change its permissions or the workdir"
    if isinstance(err, TimeoutError) or "DEADLINE_EXCEEDED" in text:
        return "another process did not take part in time; look at its log"
    return f"{type(err).__name__}: {text.splitlines()[0][:300] if text else ''}"


def step_dirs(root: pathlib.Path) -> dict[int, pathlib.Path]:
    """Return the finished steps under `root`, oldest first."""
    names = [p for p in root.iterdir() if p.name.isdigit()] if root.is_dir() else []
    return {int(p.name): p for p in sorted(names, key=lambda p: int(p.name))}


def newest_sound(root: pathlib.Path, *, step: int | None = None) -> tuple[int | None, list[str]]:
    """Return the newest undamaged step (or `step` itself), and what is wrong with newer ones.

    Raises:
        CheckpointError: `step` was asked for and is absent or damaged.
    """
    steps, problems = step_dirs(root), []
    if step is not None and step not in steps:
        raise CheckpointError(f"{root} has no step {step}; it has "
                              f"{', '.join(map(str, steps)) or 'none'}.")
    for number in reversed(steps) if step is None else [step]:
        damage = integrity.find_damage(steps[number])
        if damage is None:
            return number, problems
        problems.append(f"checkpoint {steps[number]} is damaged: {damage}")
    if step is not None:
        raise CheckpointError(f"{problems[0]}. Leave --step out to use the newest good one.")
    return None, problems


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
    exit when the folder is not writable.
    """
    registry = ocp.handlers.local_registry()
    for name in JSON_ITEMS:
        registry.add(ocp.handlers.JsonHandler, checkpointable_name=name)
    context = ocp.Context()
    context.checkpointables.registry = registry
    context.asynchronous.timeout_secs = TIMEOUT_S
    context.asynchronous.create_directories_asynchronously = False
    return context


def load_items(step_dir: pathlib.Path) -> dict[str, Any]:
    """Return the JSON items of a step."""
    with orbax_context():
        return ocp.load_checkpointables(step_dir, dict.fromkeys(JSON_ITEMS))


def load_step(step_dir: pathlib.Path, state: TrainState, *, skip: Sequence[str] = (),
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

    def __init__(self, root: pathlib.Path, *, keep: int = 3):
        """Open or create `root`; unfinished saves of a killed run are swept away.

        Args:
            root: the folder of the steps.
            keep: how many of the newest steps stay.

        Raises:
            CheckpointError: the folder cannot be written.
        """
        self.root = root
        self._saving = 0
        try:
            root.mkdir(parents=True, exist_ok=True)
            probe = root / f".writable-{jax.process_index()}"
            probe.write_bytes(b"")
            probe.unlink()
        except OSError as err:
            raise CheckpointError(f"Cannot write checkpoints to {root}: {err.strerror}. Choose "
                                  "another --workdir or change its permissions.") from err
        policy = ocp.training.preservation_policies.LatestN(keep)
        self._orbax = ocp.training.Checkpointer(
            root, context=self._context(), cleanup_tmp_directories=True,
            save_decision_policy=ocp.training.save_decision_policies.FixedIntervalPolicy(1),
            preservation_policy=policy)

    def _context(self) -> ocp.Context:
        context = orbax_context()
        # Orbax copies its context deeply: a bound method would take a copy of this object along.
        context.asynchronous.post_finalization_callback = lambda: self._on_finalize()
        return context

    def _on_finalize(self) -> None:
        """Write the checksums when all files are final and before the step gets its name."""
        integrity.write_checksums(self.root / f"{self._saving}{TEMPORARY}")

    def save(self, state: TrainState, step: int, items: Mapping[str, Any]) -> None:
        """Start saving `state` and the JSON items; returns when the arrays have been copied.

        Args:
            state: the state after `step` steps.
            step: its number; every process must call with the same.
            items: one JSON value for each of JSON_ITEMS.

        Raises:
            CheckpointError: this save could not start, or the one before it failed.
        """
        self.wait()
        self._saving = step
        try:
            self._orbax.save_checkpointables_async(step, {"state": state, **items})
        except (ValueError, OSError, TimeoutError) as err:
            raise CheckpointError(
                f"Checkpoint {step} in {self.root} failed: {explain(err)}.") from err

    def wait(self) -> None:
        """Return when the save in progress is on disk.

        Raises:
            CheckpointError: it failed.
        """
        try:
            self._orbax.wait()
        except (ValueError, OSError, TimeoutError) as err:
            raise CheckpointError(f"Checkpoint {self._saving} in {self.root} failed: "
                                  f"{explain(err)}. Older checkpoints are untouched.") from err

    def choose(self) -> int | None:
        """Return the newest sound step, the same everywhere; quarantine damaged ones."""
        chosen = -1
        if jax.process_index() == 0:
            sound, problems = newest_sound(self.root)
            chosen = -1 if sound is None else sound
            for problem in problems:
                logging.warning("%s; using %s instead.", problem,
                                f"step {chosen}" if chosen >= 0 else "a fresh start")
            self._quarantine(chosen)
        if jax.process_count() > 1:
            chosen = int(multihost_utils.broadcast_one_to_all(chosen))
        self._orbax.reload()
        return None if chosen < 0 else chosen

    def _quarantine(self, newest_good: int) -> None:
        """Move steps newer than the newest good one aside, so that their numbers are free again."""
        for number, path in step_dirs(self.root).items():
            if number > newest_good:
                target = self.root / "quarantine" / path.name
                target.parent.mkdir(exist_ok=True)
                path.rename(target.with_name(f"{path.name}-{len(list(target.parent.iterdir()))}"))

    def load(self, step: int, state: TrainState) -> tuple[TrainState, dict[str, Any]]:
        """Return the state of `step` and its JSON items; see `load_step`."""
        return load_step(self.root / str(step), state)

    def close(self) -> None:
        """Finish the save in progress and release Orbax's threads."""
        self.wait()
        self._orbax.close()
