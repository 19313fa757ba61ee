"""Which version of which model answers a call; versions come and go while requests run.

A version that is found is held until its call has ended, so that unloading waits for it. Traffic
is a table of plain data (traffic.py), replaced whole under one lock: a call sees the old or the
new one.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Mapping
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
    """What is served: traffic by model, versions by name and version, shadows by model."""

    traffic: Mapping[str, Traffic] = {}
    served: Mapping[Id, Served] = {}
    shadows: Mapping[str, Shadow] = {}


def make_switchboard(load: Load, metrics: Metrics) -> Switchboard:
    """Return a switchboard without versions.

    Args:
        load: brings a version to life.
        metrics: is told of versions.
    """
    table, held, lock = Table(), {}, threading.RLock()
    loading: set[Id] = set()

    def find(name: str | None, call: Call) -> Served:
        with lock:
            found = choose(table, name, call)
            identity = (found.name, found.version)
            held[identity] += 1
        call.after(lambda: release(identity))
        call.note(model=found.name, version=found.version, fingerprint=found.fingerprint)
        if found.engine is None:
            return found
        return found._replace(engine=watched(found.engine, call, metrics.of(*identity),
                                             copier(table, found, call)))

    def release(identity: Id) -> None:
        with lock:
            held[identity] -= 1

    def add(path: Path, name: str, version: str, weight: float | None) -> Served:
        served = enter((name, version), weight, lambda: load(path, name, version))
        metrics.watch(served.name, served.version, (served.engine or served.encoding).load)
        return served

    def attach(folder: Path, name: str, version: str, base: str | None,
               weight: float | None) -> Served:
        with lock:
            parent = base_of(table, base)
        return enter((name, version), weight, lambda: load_adapter(folder, name, version, parent))

    def enter(wanted: Id, weight: float | None, make: Callable[[], Served]) -> Served:
        nonlocal table
        name, version = wanted
        with lock:
            if wanted in table.served or wanted in loading:
                raise RequestError(f"{name}@{version} is loaded already; unload it first, or "
                                   "choose another version.", status=409, param="version")
            loading.add(wanted)
        try:
            served = make()
        finally:
            with lock:
                loading.discard(wanted)
        with lock:
            if served.parent is None or served.parent[:2] in table.served:
                table = with_version(table, served, weight)
                held[served.name, served.version] = 0
                return served
        close_served(served)
        raise RequestError(f"{served.parent.name}@{served.parent.version} was unloaded meanwhile.",
                           status=409, param="base")

    async def unload(name: str, version: str, seconds: float) -> int:
        nonlocal table
        with lock:
            served = table.served.get((name, version))
            if served is None:
                raise unknown(table, f"{name}@{version}")
            check_childless(table, served)
            table = without_version(table, served)
        end = time.monotonic() + seconds
        while held[name, version] and time.monotonic() < end:
            await asyncio.sleep(POLL)
        left = held[name, version]
        if served.parent is None:                    # queue and slots are the base's
            metrics.forget(name, version)
        await asyncio.to_thread(close_served, served)
        return left

    def change(name: str, function: Callable[[Traffic], Traffic]) -> None:
        nonlocal table
        with lock:
            if name not in table.traffic:
                raise unknown(table, name)
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
        lambda name: change(name, shares.rollback), mirror, lambda: status(table, held),
        lambda: [{"name": name, "version": table.traffic[name].shadow, **shadow.report()}
                 for name, shadow in table.shadows.items() if name in table.traffic], close)


def choose(table: Table, name: Any, call: Call) -> Served:
    """Return the version that answers a call.

    Raises:
        RequestError: there is none (404), or the caller may not use it (403).
    """
    if name is None and len(table.traffic) == 1:
        [name] = table.traffic
    if not isinstance(name, str):
        raise unknown(table, name)
    model, at, version = name.rpartition("@")
    if name in table.traffic:
        model, version = name, shares.choose(table.traffic[name], call.caller.id or call.id)
    elif not at or (model, version) not in table.served:
        raise unknown(table, name)
    if call.caller.models is not None and model not in call.caller.models:
        raise RequestError(f'Key {call.caller.id} may not use model "{model}"; it may use '
                           f"{', '.join(sorted(call.caller.models))}.", status=403, param="model",
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
    traffic = shares.add(table.traffic.get(served.name), served.version, weight)
    return table._replace(traffic={**table.traffic, served.name: traffic},
                          served={**table.served, (served.name, served.version): served})


def without_version(table: Table, served: Served) -> Table:
    """Return the table without a version; a model without versions goes too."""
    left = shares.remove(table.traffic[served.name], served.version)
    traffic = {n: t for n, t in table.traffic.items() if n != served.name}
    return table._replace(
        traffic=traffic if left is None else {**traffic, served.name: left},
        served={i: s for i, s in table.served.items() if i != (served.name, served.version)})


def status(table: Table, held: Mapping[Id, int]) -> list[dict[str, Any]]:
    """Return every version with its share of the traffic and the calls that it answers now."""
    return [{"name": one.name, "version": one.version, "calls": held[identity],
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
        raise unknown(table, name)
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


def unknown(table: Table, name: Any) -> RequestError:
    """Return the error of a model that is not there."""
    names = ", ".join(f'"{known}"' for known in sorted(table.traffic)) or "none"
    return RequestError(f"model {show(name)} is not served here; {names} "
                        f"{'are' if len(table.traffic) > 1 else 'is'}.", status=404, param="model",
                        code="model_not_found")
