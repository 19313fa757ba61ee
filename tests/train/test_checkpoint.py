"""Checkpoints: whole or rejected by name, and the newest good one is used."""

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.core.errors import CheckpointError
from ssljax.core.types import TrainState
from ssljax.train import integrity
from ssljax.train.checkpoint import Checkpoints, load_items, load_step, newest_sound, step_dirs
from ssljax.train.retention import Retention

ITEMS = {"config": {"seed": 1}, "data": {"fingerprint": {}}, "judgements": {}, "versions": {}}


def make_state(step: int, width: int = 512) -> TrainState:
    params = {"w": jnp.arange(width * 64, dtype=jnp.float32).reshape(width, 64) + step}
    return TrainState(jnp.int32(step), params, {"mu": params}, {"teacher": params}, {},
                      jax.random.key(7))


def abstract(state: TrainState) -> TrainState:
    only = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=only), state)


@pytest.fixture
def saved(tmp_path):
    """Return the root of a run with sound checkpoints at steps 1, 2 and 3."""
    checkpoints = Checkpoints(tmp_path / "checkpoints", retention=Retention(3))
    for step in (1, 2, 3):
        checkpoints.save(make_state(step), step, ITEMS)
    checkpoints.close()
    return tmp_path / "checkpoints"


def test_round_trip_is_bitwise_and_typed(saved):
    state, items = load_step(saved / "3", abstract(make_state(0)))
    assert isinstance(state, TrainState)
    assert items == ITEMS
    np.testing.assert_array_equal(state.params["w"], make_state(3).params["w"])
    assert jnp.issubdtype(state.key.dtype, jax.dtypes.prng_key)
    assert (jax.random.key_data(state.key) == jax.random.key_data(jax.random.key(7))).all()


def test_only_the_newest_are_kept(tmp_path):
    checkpoints = Checkpoints(tmp_path, retention=Retention(2))
    for step in (1, 2, 3, 4):
        checkpoints.save(make_state(step), step, ITEMS)
    checkpoints.close()
    assert list(step_dirs(tmp_path)) == [3, 4]


def flip_a_bit(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


DAMAGE = {
    "flipped": (flip_a_bit, "has changed"),
    "truncated": (lambda p: p.write_bytes(p.read_bytes()[: p.stat().length // 2]), "bytes"),
    "emptied": (lambda p: p.write_bytes(b""), "0 bytes"),
    "deleted": (lambda p: p.unlink(), "is missing"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_to_any_file_is_named_and_the_previous_step_used(saved, kind, caplog):
    """Every file of the newest step in turn, so that no kind of file is left out."""
    damage, said = DAMAGE[kind]
    victims = integrity.files_of(saved / "3")
    assert len(victims) >= 8
    for path in victims:
        before = path.read_bytes()
        if not before and kind != "deleted":
            continue
        damage(path)
        number, problems = newest_sound(saved)
        assert number == 2
        assert str(path.relative_to(saved / "3")) in problems[0]
        assert said in problems[0]
        path.write_bytes(before)
    assert newest_sound(saved) == (3, [])


def test_resuming_moves_damaged_steps_aside_and_reuses_their_number(saved):
    flip_a_bit(max(integrity.files_of(saved / "3"), key=lambda p: p.stat().length))
    checkpoints = Checkpoints(saved, retention=Retention(3))
    assert checkpoints.choose() == 2
    assert [p.name for p in (saved / "quarantine").iterdir()] == ["3-0"]
    checkpoints.save(make_state(3), 3, ITEMS)
    checkpoints.close()
    assert newest_sound(saved) == (3, [])


def test_a_half_deleted_step_is_passed_over(saved):
    (saved / "3" / integrity.NAME).unlink()
    assert newest_sound(saved)[0] == 2


def test_asking_for_a_step_that_is_absent_or_damaged_says_so(saved):
    with pytest.raises(CheckpointError, match="has no step 9; it has 1, 2, 3"):
        newest_sound(saved, step=9)
    flip_a_bit(max(integrity.files_of(saved / "2"), key=lambda p: p.stat().length))
    with pytest.raises(CheckpointError, match="damaged"):
        newest_sound(saved, step=2)


def test_another_shape_is_refused_with_the_leaf_named(saved):
    with pytest.raises(CheckpointError, match=r"params/w: checkpoint has float32\[512, 64\], "
                                              r"this run float32\[256, 64\]"):
        load_step(saved / "3", abstract(make_state(0, width=256)))


def test_another_dtype_is_refused_rather_than_cast(saved):
    half = jax.tree.map(lambda x: x.astype(jnp.bfloat16), make_state(0).params)
    with pytest.raises(CheckpointError, match="bfloat16"):
        load_step(saved / "3", abstract(make_state(0)._replace(params=half)))


def test_skipped_fields_are_not_read(saved):
    state, _ = load_step(saved / "3", abstract(make_state(0)), skip=("opt_state",))
    assert state.opt_state["mu"]["w"] is ...
    np.testing.assert_array_equal(state.extra["teacher"]["w"], make_state(3).extra["teacher"]["w"])


def test_a_renamed_step_is_refused(saved):
    (saved / "3").rename(saved / "30")
    with pytest.raises(CheckpointError, match="holds step 3"):
        load_step(saved / "30", abstract(make_state(0)))


def test_items_are_readable_alone(saved):
    assert load_items(saved / "2") == ITEMS


def test_the_checksums_are_committed_with_the_step(saved):
    """Pins the order of Orbax's callback: files first, then checksums, then the name."""
    listed = json.loads((saved / "3" / integrity.NAME).read_text())
    assert any(name.startswith("state/") for name in listed)
    assert {"config/data.json", "data/data.json", "versions/data.json"} <= listed.keys()


def test_a_root_that_cannot_be_written_is_refused_at_once(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(CheckpointError, match="Cannot write checkpoints"):
        Checkpoints(tmp_path / "file" / "checkpoints")


def test_one_failed_save_is_forgiven_and_two_in_a_row_are_not(saved, monkeypatch, caplog):
    checkpoints = Checkpoints(saved, retention=Retention(9))
    real = shutil.disk_usage

    def full(path):
        return real(path)._replace(free=1000)

    monkeypatch.setattr(shutil, "disk_usage", full)
    checkpoints.save(make_state(4), 4, ITEMS)
    assert "has 0 MiB free and a checkpoint takes" in caplog.text
    monkeypatch.setattr(shutil, "disk_usage", real)
    checkpoints.save(make_state(5), 5, ITEMS)
    checkpoints.wait()
    monkeypatch.setattr(shutil, "disk_usage", full)
    checkpoints.save(make_state(6), 6, ITEMS)               # a success in between: one again
    with pytest.raises(CheckpointError, match="Checkpoint 7 .* free some space or keep fewer"):
        checkpoints.save(make_state(7), 7, ITEMS)
    checkpoints.close()
    assert newest_sound(saved) == (5, [])
    assert list(step_dirs(saved)) == [1, 2, 3, 5]


def test_the_best_judgement_and_every_kth_step_stay_also_after_a_restart(tmp_path):
    retention = Retention(1, every=4, best="eval/loss")
    losses = {1: 3.0, 2: 1.0, 3: 2.0, 4: 5.0, 5: 4.0, 6: 6.0}
    for steps in ((1, 2, 3), (4, 5, 6)):
        checkpoints = Checkpoints(tmp_path, retention=retention)
        checkpoints.choose()
        for step in steps:
            judgements = {"eval/loss": losses[step]}
            checkpoints.save(make_state(step), step, {**ITEMS, "judgements": judgements})
        checkpoints.close()
    assert list(step_dirs(tmp_path)) == [2, 4, 6]


def test_going_back_moves_later_steps_aside(saved):
    checkpoints = Checkpoints(saved, retention=Retention(3))
    assert checkpoints.choose(before=3) == 2
    checkpoints.close()
    assert list(step_dirs(saved)) == [1, 2]
    assert [p.name for p in (saved / "quarantine").iterdir()] == ["3-0"]
