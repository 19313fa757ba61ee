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
from ssljax.serve.checks import show
from ssljax.serve.loading import close_served
from ssljax.serve.metrics import Metrics
from ssljax.serve.served import Call, Served, Switchboard
from ssljax.serve.shadow import Shadow, make_shadow
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
        nonlocal table
        wanted = (name, version)
        with lock:
            if wanted in table.served or wanted in loading:
                raise RequestError(f"{name}@{version} is loaded already; unload it first, or "
                                   "choose another version.", status=409, param="version")
            loading.add(wanted)
        try:
            served = load(path, name, version)
        finally:
            with lock:
                loading.discard(wanted)
        with lock:
            table = with_version(table, served, weight)
            held[served.name, served.version] = 0
        metrics.watch(served.name, served.version, (served.engine or served.encoding).load)
        return served

    async def unload(name: str, version: str, seconds: float) -> int:
        nonlocal table
        with lock:
            served = table.served.get((name, version))
            if served is None:
                raise unknown(table, f"{name}@{version}")
            table = without_version(table, served)
        end = time.monotonic() + seconds
        while held[name, version] and time.monotonic() < end:
            await asyncio.sleep(POLL)
        left = held[name, version]
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
            change(name, lambda traffic: shares.mirror(traffic, version, share))
            shadow = table.served.get((name, version))
            if shadow is not None and shadow.engine is None:
                change(name, lambda traffic: shares.mirror(traffic, None, 0.0))
                raise RequestError(f"{name}@{version} generates no text, which is what shadows "
                                   "are compared by.", param="version")
            if shadow is not None:
                fresh = make_shadow(shadow.engine, shadow.artefact.tokenizer)
                table = table._replace(shadows={**table.shadows, name: fresh})

    def close() -> None:
        for served in table.served.values():
            close_served(served)

    return Switchboard(
        find, lambda: tuple(table.served.values()), add, unload,
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
             "artefact": str(one.artefact.path), "fingerprint": one.fingerprint}
            for identity, one in table.served.items()]


def unknown(table: Table, name: Any) -> RequestError:
    """Return the error of a model that is not there."""
    names = ", ".join(f'"{known}"' for known in sorted(table.traffic)) or "none"
    return RequestError(f"model {show(name)} is not served here; {names} "
                        f"{'are' if len(table.traffic) > 1 else 'is'}.", status=404, param="model",
                        code="model_not_found")
