"""Which version of which model answers a call; versions come and go while requests run.

A version that is found is held until its call has ended, so that unloading waits for it; its name
is free once it has gone. Traffic is a table of plain data (traffic.py), replaced whole under one
lock: a call sees the old or the new one.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ssljax.core.errors import RequestError
from ssljax.serve import traffic as shares
from ssljax.serve.adapted import load_adapter
from ssljax.serve.checks import show
from ssljax.serve.loading import close_served
from ssljax.serve.metrics import Metrics
from ssljax.serve.served import Call, Served, Switchboard
from ssljax.serve.shadow import Shadow, check_comparable, make_shadow, same_tokens
from ssljax.serve.traffic import Traffic
from ssljax.serve.watch import watched

POLL = 0.02                        # seconds between two looks at whether a version is idle

Load = Callable[[Path, str, str], Served]          # (folder, name, version), "" for the artefact's
Id = tuple[str, str]                               # (name, version)


class Table(NamedTuple):
    """What is served.

    traffic: by model
    served:  versions
    calls:   of each version, a set of those that hold it, which changes in place
    shadows: by model
    """

    traffic: Mapping[str, Traffic] = {}
    served: Mapping[Id, Served] = {}
    calls: Mapping[Id, set[object]] = {}
    shadows: Mapping[str, Shadow] = {}


def make_switchboard(load: Load, metrics: Metrics) -> Switchboard:
    """Return a switchboard without versions.

    Args:
        load: brings a version to life.
        metrics: is told of versions.
    """
    table, lock = Table(), threading.RLock()
    loading: set[Id] = set()
    leaving: set[Id] = set()

    def find(name: str | None, call: Call) -> Served:
        with lock:
            found, held = choose(table, name, call), object()
            # This version's own: another of its name may have come before the call has ended.
            calls = table.calls[found.name, found.version]
            calls.add(held)
            copy = copier(table, found, call)
        call.after(lambda: calls.discard(held))
        call.note(model=found.name, version=found.version, fingerprint=found.fingerprint)
        if found.engine is None:
            return found
        figures = metrics.of(found.name, found.version)
        return found._replace(engine=watched(found.engine, call, figures, copy))

    def add(path: Path, name: str, version: str, weight: float | None) -> Served:
        return enter((name, version), None, weight, lambda: load(path, name, version))

    def attach(folder: Path, name: str, version: str, base: str | None,
               weight: float | None) -> Served:
        with lock:
            parent = base_of(table, base)
        return enter((name, version), parent, weight,
                     lambda: load_adapter(folder, name, version, parent))

    def enter(wanted: Id, base: Served | None, weight: float | None,
              make: Callable[[], Served]) -> Served:
        with lock:
            check_free(*wanted)
            if wanted[0]:                            # else the artefact says its name
                loading.add(wanted)
        try:
            served = make()
        finally:
            with lock:
                loading.discard(wanted)
        try:
            admit(served, base, weight)
        except RequestError:
            close_served(served)
            raise
        return served

    def admit(served: Served, base: Served | None, weight: float | None) -> None:
        nonlocal table
        with lock:
            check_free(served.name, served.version)
            if base is not None and table.served.get((base.name, base.version)) is not base:
                raise RequestError(f"{base.name}@{base.version} was unloaded meanwhile.",
                                   status=409, param="base")
            table = with_version(table, served, weight)
            if base is None:                         # queue and slots of adapters are the base's
                metrics.watch(served.name, served.version, (served.engine or served.encoding).load)

    def check_free(name: str, version: str) -> None:
        if (name, version) in leaving:
            raise RequestError(f"{name}@{version} is being unloaded; load it once that has been "
                               "answered, or choose another version.", status=409, param="version")
        if (name, version) in table.served or (name, version) in loading:
            raise RequestError(f"{name}@{version} is loaded already; unload it first, or choose "
                               "another name or version.", status=409, param="version")

    async def unload(name: str, version: str, seconds: float) -> int:
        nonlocal table
        with lock:
            served = table.served.get((name, version))
            if served is None:
                raise unknown(f"{name}@{version}", table.traffic)
            check_childless(table, served)
            calls = table.calls[name, version]
            table = without_version(table, served)
            leaving.add((name, version))
        end = time.monotonic() + seconds
        try:
            while calls and time.monotonic() < end:
                await asyncio.sleep(POLL)
            return len(calls)
        finally:
            if served.parent is None:
                metrics.forget(name, version)
            await asyncio.to_thread(close_served, served)
            leaving.discard((name, version))

    def change(name: str, function: Callable[[Traffic], Traffic]) -> None:
        nonlocal table
        with lock:
            if name not in table.traffic:
                raise unknown(name, table.traffic)
            table = table._replace(traffic=table.traffic | {name: function(table.traffic[name])})

    def mirror(name: str, version: str | None, share: float) -> None:
        nonlocal table
        with lock:
            shadow = table.served.get((name, version))
            if shadow is not None:
                check_comparable(shadow, table.served.values())
            change(name, lambda traffic: shares.mirror(traffic, version, share))
            if shadow is not None:
                fresh = make_shadow(shadow.engine)
                table = table._replace(shadows={**table.shadows, name: fresh})

    def close() -> None:
        for served in sorted(table.served.values(), key=lambda one: one.parent is None):
            close_served(served)                     # adapters before their bases

    return Switchboard(
        find, lambda: tuple(table.served.values()), attach, add, unload,
        lambda name, weights: change(name, lambda traffic: shares.split(traffic, weights)),
        lambda name: change(name, shares.rollback), mirror, lambda: status(table),
        lambda: [{"name": name, "version": table.traffic[name].shadow, **shadow.report()}
                 for name, shadow in table.shadows.items() if name in table.traffic], close)


def choose(table: Table, name: Any, call: Call) -> Served:
    """Return the version that answers a call.

    Raises:
        RequestError: there is none (404), or the caller may not use it (403).
    """
    if name is None and len(table.traffic) == 1:
        [name] = table.traffic
    may = call.caller.models
    mine = [known for known in table.traffic if may is None or known in may]
    if not isinstance(name, str):
        raise unknown(name, mine)
    model, at, version = name.rpartition("@")
    if name in table.traffic:
        model, version = name, shares.choose(table.traffic[name], call.caller.id or call.id)
    elif not at or (model, version) not in table.served:
        raise unknown(name, mine)
    if may is not None and model not in may:
        raise RequestError(f'Key {call.caller.id} may not use model "{model}"; it may use '
                           f"{', '.join(sorted(may))}.", status=403, param="model",
                           code="model_not_allowed")
    return table.served[model, version]


def copier(table: Table, found: Served, call: Call) -> Callable | None:
    """Return what copies the requests of this call, if it is one of those that are copied."""
    traffic = table.traffic.get(found.name)
    if traffic is None or traffic.shadow in (None, found.version):
        return None
    if not same_tokens(found, table.served[found.name, traffic.shadow]):
        return None                      # one that came after the shadow was chosen
    if shares.point(f"shadow {call.id}") >= traffic.share:
        return None
    return table.shadows[found.name].copy


def with_version(table: Table, served: Served, weight: float | None) -> Table:
    """Return the table with one more version."""
    identity = served.name, served.version
    traffic = shares.add(table.traffic.get(served.name), served.version, weight)
    return table._replace(traffic={**table.traffic, served.name: traffic},
                          served={**table.served, identity: served},
                          calls={**table.calls, identity: set()})


def without_version(table: Table, served: Served) -> Table:
    """Return the table without a version; a model without versions goes too."""
    identity = served.name, served.version
    left = shares.remove(table.traffic[served.name], served.version)
    traffic = {n: t for n, t in table.traffic.items() if n != served.name}
    return table._replace(
        traffic=traffic if left is None else {**traffic, served.name: left},
        served={i: s for i, s in table.served.items() if i != identity},
        calls={i: c for i, c in table.calls.items() if i != identity})


def status(table: Table) -> list[dict[str, Any]]:
    """Return every version with its share of the traffic and the calls that it answers now."""
    return [{"name": one.name, "version": one.version, "calls": len(table.calls[identity]),
             "weight": table.traffic[one.name].weights[one.version],
             "shadow_share": table.traffic[one.name].share
             if table.traffic[one.name].shadow == one.version else 0.0,
             "artefact": str(one.artefact.path), "fingerprint": one.fingerprint,
             "base": one.parent and f"{one.parent.name}@{one.parent.version}",
             "adapter": one.parent and str(one.parent.folder)}
            for identity, one in table.served.items()]


def base_of(table: Table, name: str | None) -> Served:
    """Return the version that adapters are put on: NAME, NAME@VERSION, or the only one with room.

    Raises:
        RequestError: it is not there (404), has no room for adapters, or there are several.
    """
    bases = [one for one in table.served.values() if one.parent is None and (
        name in (one.name, f"{one.name}@{one.version}") if name is not None else has_room(one))]
    if not bases and name is not None:
        raise unknown(name, table.traffic)
    if len({one.name for one in bases}) > 1:
        raise RequestError(f"{len(bases)} models have room for adapters; say which is the base.",
                           param="base")
    if not bases or not has_room(bases[-1]):
        raise RequestError(f"{show(name) if name else 'No model here'} has no room for adapters; "
                           "export it with --adapters N --adapter-rank R.", param="base",
                           code="no_room")
    return bases[-1]                                 # the newest version


def has_room(served: Served) -> bool:
    """Say whether a version was exported with places for adapters."""
    return served.places is not None and served.places.count > 0


def check_childless(table: Table, base: Served) -> None:
    """Raise RequestError where adapters are loaded that change `base`."""
    names = [f"{one.name}@{one.version}" for one in table.served.values()
             if one.parent is not None and one.parent[:2] == (base.name, base.version)]
    if names:
        raise RequestError(f"{base.name}@{base.version} is the base of {', '.join(names)}; unload "
                           "them first.", status=409, param="name", code="has_adapters")


def unknown(name: Any, known: Iterable[str]) -> RequestError:
    """Return the error of a model that is not there; `known` are those that the caller may use."""
    names = [f'"{one}"' for one in sorted(known)]
    return RequestError(f"model {show(name)} is not served here; {', '.join(names) or 'none'} "
                        f"{'are' if len(names) > 1 else 'is'}.", status=404, param="model",
                        code="model_not_found")
