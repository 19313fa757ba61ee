"""Versions that come while others go: none is lost, none is counted for another."""

import asyncio
import threading
from pathlib import Path

import pytest

from ssljax.core.errors import RequestError
from ssljax.serve.caller import Caller
from ssljax.serve.metrics import make_metrics
from ssljax.serve.served import Call
from ssljax.serve.switchboard import make_switchboard


class Loads:
    """Bring toys to life; `closed` has the words of those whose engines were stopped."""

    def __init__(self, load_toy):
        self.load_toy, self.closed = load_toy, []
        self.begun, self.go = threading.Event(), threading.Event()
        self.go.set()

    def __call__(self, path, name, version):
        self.begun.set()
        assert self.go.wait(10)
        served = self.load_toy(path, name, version)

        def close():
            self.closed.append(path.name)
            served.engine.close()

        return served._replace(engine=served.engine._replace(close=close))


@pytest.fixture
def loads(load_toy):
    return Loads(load_toy)


@pytest.fixture
def models(loads):
    models = make_switchboard(loads, make_metrics())
    yield models
    models.close()


def call_of(models=None):
    """Return a call of a caller who may use these models, and the functions that end it."""
    ends = []
    return Call("r", Caller("key", models=models), 0.0, 0, lambda **facts: None, ends.append), ends


def end(ends):
    for function in reversed(ends):
        function()


def calls(models):
    return [one["calls"] for one in models.status()]


def test_a_version_that_is_being_unloaded_is_not_loaded_again_before_it_has_gone(models, loads):
    models.load(Path("a"), "toy", "1", None)
    call, ends = call_of()
    models.find("toy", call)

    async def swap():
        going = asyncio.create_task(models.unload("toy", "1", 10.0))
        await asyncio.sleep(0.05)
        for name in ("toy", ""):                     # told, and the artefact's own
            with pytest.raises(RequestError, match="toy@1 is being unloaded") as caught:
                await asyncio.to_thread(models.load, Path("b"), name, "1", None)
            assert caught.value.status == 409
        assert not going.done() and loads.closed == ["b"]
        end(ends)
        return await going

    assert asyncio.run(swap()) == 0 and loads.closed == ["b", "a"]
    models.load(Path("b"), "toy", "1", None)
    assert [one["name"] for one in models.status()] == ["toy"] and calls(models) == [0]


def test_a_call_that_was_cut_off_ends_without_being_counted_for_the_next_of_its_name(models):
    models.load(Path("a"), "m", "1", None)
    call, ends = call_of()
    models.find("m", call)
    assert asyncio.run(models.unload("m", "1", 0.0)) == 1
    models.load(Path("b"), "m", "1", None)
    assert calls(models) == [0]
    end(ends)
    assert calls(models) == [0] and asyncio.run(models.unload("m", "1", 10.0)) == 0


@pytest.mark.parametrize("weight", [None, 0.5])
def test_an_artefact_whose_own_name_is_taken_is_refused_and_closed(models, loads, weight):
    models.load(Path("a"), "", "1", None)
    before = models.status()
    with pytest.raises(RequestError, match="toy@1 is loaded already") as caught:
        models.load(Path("b"), "", "1", weight)
    assert caught.value.status == 409 and loads.closed == ["b"] and models.status() == before
    models.load(Path("c"), "", "2", None)            # another version of it is welcome


def test_a_name_that_is_being_loaded_is_not_taken_by_an_artefact_that_has_it(models, loads):
    loads.go.clear()
    loader = threading.Thread(target=models.load, args=(Path("a"), "toy", "1", None))
    loader.start()
    assert loads.begun.wait(10)
    with pytest.raises(RequestError, match="toy@1 is loaded already"):
        models.load(Path("b"), "toy", "1", None)
    loads.go.set()
    loader.join(10)
    assert [one["artefact"] for one in models.status()] == ["a"] and loads.closed == []


def test_who_may_use_some_models_is_not_told_the_names_of_others(models):
    for name in ("mine", "secret", "yours"):
        models.load(Path("a"), name, "1", None)
    for may, listed in ((None, '"mine", "secret", "yours" are'), ({"mine", "gone"}, '"mine" is'),
                        ({"gone"}, "none is")):
        with pytest.raises(RequestError, match=f'model "other" is not served here; {listed}'):
            models.find("other", call_of(may and frozenset(may))[0])
