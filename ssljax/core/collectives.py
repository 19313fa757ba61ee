"""What a compiled function moves between devices: kind, mesh axes, how often, how many bytes.

Read from the text of the optimised HLO module, the only place where the collectives that the
compiler inserted are visible. Computations are walked from ENTRY; the body of a loop counts as
often as its known trip count says. The list of a train step is short enough to be held against a
golden list in a test: a weight that is gathered twice, or a replicated optimizer state, shows there
before it shows on a bill.
"""

import math
import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

BITS = {"pred": 8, "s4": 4, "u4": 4, "s8": 8, "u8": 8, "s16": 16, "u16": 16, "bf16": 16, "f16": 16,
        "s32": 32, "u32": 32, "f32": 32, "s64": 64, "u64": 64, "f64": 64, "c64": 64, "f4e2m1fn": 4,
        "f8e4m3fn": 8, "f8e5m2": 8, "f8e4m3fnuz": 8, "f8e5m2fnuz": 8, "f8e8m0fnu": 8}
KINDS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "ragged-all-to-all",
         "collective-permute", "collective-broadcast")
COMPUTATION = re.compile(r"(ENTRY )?%?([\w.\-]+) \(.*\{$")
# Anchored, and a type has no "=": names inside metadata cannot match.
OPERATION = re.compile(rf"^ *(?:ROOT )?%?[\w.\-]+ = ([^=]*?) ({'|'.join(KINDS)})(-start)?\(")
CALLED = re.compile(r"(body|calls|to_apply|true_computation|false_computation)=%?([\w.\-]+)")
BRANCHES = re.compile(r"branch_computations=\{(.*?)\}")
TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"')


class Collective(NamedTuple):
    """All collectives of one kind along the same mesh axes in one execution.

    kind:  the HLO operation, such as "all-gather"
    axes:  the mesh axes that a group of devices spans, joined by "+"; "-" for a group of one
    count: executions
    bytes: of the results on one device, summed over the executions
    """

    kind: str
    axes: str
    count: int
    bytes: int


def collectives(compiled: jax.stages.Compiled, mesh: jax.sharding.Mesh) -> list[Collective]:
    """Return what one execution of a compiled function moves between devices, sorted.

    Both branches of a conditional are counted (an upper bound; the train step's branch that keeps
    the state has none), and a loop without a known trip count once.

    Args:
        compiled: what jit(f).lower(...).compile() returned.
        mesh: the mesh it was compiled for, whose axes name the groups.
    """
    return read(compiled.as_text(), {name: int(n) for name, n in mesh.shape.items()})


def read(text: str, mesh: dict[str, int]) -> list[Collective]:
    """Return the collectives of an HLO module's text; `mesh` is axis name -> size, in order."""
    found: dict[str, list[tuple[str, str, int]]] = defaultdict(list)
    calls: dict[str, list[tuple[str, int]]] = defaultdict(list)
    name = entry = ""
    for line in text.splitlines():
        if start := COMPUTATION.match(line):
            name = start[2]
            entry = name if start[1] else entry
            continue
        line = re.sub(r"/\*.*?\*/", "", line)               # /*index=5*/ in long tuples
        if operation := OPERATION.search(line):
            shape, kind, asynchronous = operation.groups()
            size = bytes_of(started(shape, kind) if asynchronous else shape)
            found[name].append((kind, axes_of(line, mesh), size))
        calls[name] += called(line)
    total: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    for computation, times in walk(calls, entry, 1):
        for kind, axes, size in found[computation]:
            total[kind, axes][0] += times
            total[kind, axes][1] += times * size
    return sorted(Collective(*key, *sums) for key, sums in total.items())


def walk(calls: dict[str, list[tuple[str, int]]], name: str, times: int,
         ) -> Iterator[tuple[str, int]]:
    """Yield every computation that `name` reaches and how often it runs, once per call site."""
    yield name, times
    for child, n in calls.get(name, ()):
        yield from walk(calls, child, times * n)


def called(line: str) -> list[tuple[str, int]]:
    """Return the computations that an operation runs and how often."""
    if re.search(r"async-(done|update)\(", line):           # repeats what its async-start calls
        return []
    trips = TRIPS.search(line)
    found = [(child, int(trips[1]) if key == "body" and trips else 1)
             for key, child in CALLED.findall(line)]
    for group in BRANCHES.findall(line):
        found += [(child.strip().lstrip("%"), 1) for child in group.split(",")]
    return found


def bytes_of(shape: str) -> int:
    """Return the bytes of an HLO shape such as "f32[8,16]{1,0}"; of a tuple, the sum."""
    bits = sum(BITS[kind] * math.prod(int(d) for d in dims.split(",") if d)
               for kind, dims in re.findall(r"(\w+)\[([\d,<=]*)\]", shape.replace("<=", ""))
               if kind in BITS)
    return bits // 8


def started(shape: str, kind: str) -> str:
    """Return the shape of the result of an asynchronous start.

    An all-reduce returns its result; the others a tuple (operand, result, contexts...), whose
    second element counts.
    """
    if kind == "all-reduce" or not shape.startswith("("):
        return shape
    depth, parts = 0, [""]
    for char in shape[1:-1]:
        depth += (char in "([{") - (char in ")]}")
        if char == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += char
    return parts[1]


def axes_of(line: str, mesh: dict[str, int]) -> str:
    """Return the mesh axes along which the devices of a group differ, joined by "+"."""
    coordinates = np.array(np.unravel_index(group_of(line, math.prod(mesh.values())),
                                            tuple(mesh.values())))     # [axes, groups, members]
    spread = (coordinates != coordinates[..., :1]).any((1, 2))
    return "+".join(name for name, differs in zip(mesh, spread, strict=True) if differs) or "-"


def group_of(line: str, devices: int) -> np.ndarray:
    """Return int [groups, members]: the first group of devices, or every pair of a permute.

    Groups have three spellings in HLO: {{0,4},{1,5}}; [2,4]<=[4,2]T(1,0); and, of a mesh perhaps
    over reordered devices, mesh['a'=2,'b'=4], device_ids=([4,2]T(1,0)) {'b'}. Permutes have pairs.
    Without any, all devices are one group.
    """
    if pairs := re.search(r"source_target_pairs=\{(\{.*?\})\}", line):
        return np.array(re.findall(r"\d+", pairs[1]), int).reshape(-1, 2)
    if named := re.search(r"replica_groups=@?mesh\[(.*?)\](?:, device_ids=\((.*?)\))? \{(.*?)\}",
                          line):
        return named_group(*named.groups())
    if tiled := re.search(r"replica_groups=\[([\d,]+)\]<=(\[[\d,]+\](?:T\([\d,]+\))?)", line):
        return tile(tiled[2]).reshape(numbers(tiled[1]))[:1]
    if listed := re.search(r"replica_groups=\{\{([\d,]+)\}", line):
        return np.array([numbers(listed[1])])
    return np.arange(devices)[None]


def numbers(text: str) -> list[int]:
    """Return the whole numbers in a text."""
    return [int(i) for i in re.findall(r"\d+", text)]


def tile(text: str) -> np.ndarray:
    """Return the devices of "[4,2]T(1,0)": counted in this shape, read in another order."""
    dims, _, order = text.partition("T")
    ids = np.arange(math.prod(numbers(dims))).reshape(numbers(dims))
    return ids.transpose(numbers(order) or None)


def named_group(sizes: str, order: str | None, spanned: str) -> np.ndarray:
    """Return the first group of the mesh "'a'=2,'b'=4" along the axes "'b'".

    'b':(2)2 is the part of axis b that has 2 before it and is 2 long.
    """
    full = {name: int(n) for name, n in re.findall(r"'(\w+)'=(\d+)", sizes)}
    ids = np.arange(math.prod(full.values())) if order is None else (
        tile(order) if "[" in order else np.array(numbers(order)))
    shape: list[int] = []
    index: list[Any] = []
    along = dict(re.findall(r"'(\w+)'(:\(\d+\)\d+)?", spanned))
    for name, n in full.items():
        before, size = numbers(along[name]) if along.get(name) else (1, n)
        shape += [before, size, n // (before * size)]
        index += [0, slice(None) if name in along else 0, 0]
    return ids.reshape(shape)[tuple(index)].reshape(1, -1)
