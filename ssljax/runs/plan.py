"""Plan a run without its hardware: the real step, compiled for fake devices, and a roofline.

    python -m ssljax.runs.plan < request.json > report.json

A process of its own, because the number of fake devices must be set before jax starts; `ssljax
plan` starts it. The request is {"config", "devices", "chip", "mesh", "confirm"}; with a mesh that
one is planned, without one every mesh is ranked by prediction and the best few are compiled.
The report is plain data; runs/plan_text.py prints it.

Compiled numbers come from the CPU compiler: bytes of arguments and the list of collectives are
those of the real mesh, but it has no fused attention, no reduce-scatter (an all-reduce and a slice)
and sums bfloat16 in float32, so temporary bytes and bytes moved are upper estimates.
"""

import dataclasses
import json
import math
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec

from ssljax.core import sharding
from ssljax.core.collectives import Collective, collectives
from ssljax.core.errors import SsljaxError
from ssljax.runs.build import Method, build_method, build_train_step
from ssljax.runs.candidates import USABLE, Candidate, given, overrides, propose
from ssljax.runs.config import with_defaults
from ssljax.runs.workload import Step, describe_step
from ssljax.train.chips import Chip, chip
from ssljax.train.roofline import EFFICIENCY, Estimate, estimate
from ssljax.train.state import abstract_state

Progress = Callable[[str], None]


def plan(config: Mapping[str, Any], *, devices: int, chip_name: str,
         mesh: Mapping[str, int] | None, confirm: int, progress: Progress) -> dict[str, Any]:
    """Return the plan of a run.

    Args:
        config: a plain, checked config.
        devices: how many; as many fake ones must be visible.
        chip_name: see train/chips.py.
        mesh: axis -> size, or None to propose one.
        confirm: how many of the best candidates are compiled.
        progress: takes a line whenever something long begins.

    Raises:
        ConfigError: the shapes do not divide over the devices, or there is no such chip.
    """
    config, target = with_defaults(config), chip(chip_name)
    progress("Tracing the model ...")
    method = build_method(config)
    step = describe_step(config, method)
    if mesh is None:
        ranked = propose(step, devices, target)
    else:
        ranked = [given(step, sharding.mesh_sizes(devices, mesh), target)]
    rows = [row(step, candidate, target) for candidate in ranked]
    confirmed = 0
    for entry, candidate in zip(rows, ranked, strict=True):
        if confirmed == min(confirm, len(rows)):
            break
        progress(f"Compiling {confirmed + 1} of {min(confirm, len(rows))}: {entry['name']} ...")
        try:
            entry["compiled"] = compiled(config, method, step, candidate, target)
            confirmed += 1
        except SsljaxError as err:
            if mesh is not None:
                raise
            entry["refused"] = str(err)
    pairs = sorted(zip(rows, ranked, strict=True), key=lambda pair: standing(pair[0]))
    rows, chosen = [entry for entry, _ in pairs], pairs[0][1]
    return {"devices": devices, "chip": chip_name, "source": target.source,
            "memory": target.memory, "usable": USABLE, "efficiency": EFFICIENCY,
            "flops": flops_report(step), "unit": step.unit, "units": step.units,
            "given": mesh is not None, "candidates": rows, "considered": len(rows),
            "overrides": list(overrides(chosen, config["accumulate"]))}


def standing(entry: Mapping[str, Any]) -> tuple:
    """Return what rows are sorted by: compiled ones first, by what fits and then by time; refused
    ones last.
    """
    numbers = entry["compiled"] or entry
    return ("refused" in entry, entry["compiled"] is None, not numbers["fits"], not entry["fits"],
            numbers["seconds"])


def name(candidate: Candidate) -> str:
    """Return how a candidate is called: its axes larger than one."""
    axes = [f"{a} {n}" for a, n in candidate.sizes.items() if n > 1] or ["one device"]
    return " x ".join(axes) + (f", accumulate {candidate.accumulate}"
                               if candidate.accumulate > 1 else "")


def flops_report(step: Step) -> dict[str, Any]:
    """Return parameters, and FLOPs per token or image by part."""
    flops = step.flops
    return {"params": flops.params, "non_embedding": flops.non_embedding, "active": flops.active,
            "per_unit": flops.total / step.units, "blocks": flops.blocks / step.units,
            "head": flops.head / step.units, "attention": flops.attention / step.units,
            "causal": flops.causal}


def row(step: Step, candidate: Candidate, target: Chip) -> dict[str, Any]:
    """Return a candidate as plain data: bytes by arithmetic, predicted time."""
    cost = candidate.estimate
    return {"mesh": dict(candidate.sizes), "accumulate": candidate.accumulate,
            "name": name(candidate), "fits": candidate.fits,
            "bytes": {**step.state_bytes(candidate.sizes),
                      "batch": step.batch_bytes(candidate.sizes),
                      "activations": cost.activations, "logits": cost.logits,
                      "total": cost.bytes},
            "seconds": cost.seconds, "parts": parts(cost),
            "mfu": utilisation(step, cost, candidate, target), "compiled": None}


def parts(cost: Estimate) -> dict[str, float]:
    """Return where the predicted seconds go."""
    return {"products": cost.products, "memory": cost.memory, "hidden": cost.hidden,
            "exposed": cost.exposed, "bubble": cost.bubble}


def utilisation(step: Step, cost: Estimate, candidate: Candidate, target: Chip) -> float:
    """Return the predicted model FLOPs utilisation."""
    peak = target.bf16 if step.work.itemsize == 2 else target.fp32
    return step.flops.total / cost.seconds / math.prod(candidate.sizes.values()) / peak


def compiled(config: Mapping[str, Any], method: Method, step: Step, candidate: Candidate,
             target: Chip) -> dict[str, Any]:
    """Compile the real step on a mesh of fake devices; return what the compiler says of it."""
    began = time.perf_counter()
    config = {**config, "accumulate": candidate.accumulate}
    mesh = sharding.make_mesh(candidate.sizes)
    with sharding.use_mesh(mesh):
        state = abstract_state(method.init, method.key, mesh, method.layout)
        program = jax.jit(build_train_step(config, method), donate_argnums=0).lower(
            state, abstract_batch(method, config["batch_size"], mesh)).compile()
    memory = program.memory_analysis()
    moved = [c for c in collectives(program, mesh) if c.axes != "-"]    # groups of one move nothing
    total = (memory.argument_size_in_bytes + memory.temp_size_in_bytes
             + memory.output_size_in_bytes - memory.alias_size_in_bytes)
    work = dataclasses.replace(step.work, accumulate=candidate.accumulate)
    state_bytes = sum(step.state_bytes(candidate.sizes).values())
    cost = estimate(work, candidate.sizes, target, state=state_bytes, moved=cheaper(moved))
    # A CPU runs ragged_dot as a product of all tokens with all experts: no measure of an
    # accelerator's memory, so that arithmetic decides there.
    experts = bool(config["model"].get("experts"))
    return {"arguments": memory.argument_size_in_bytes, "temporary": memory.temp_size_in_bytes,
            "total": total, "every_expert": experts,
            "fits": candidate.fits if experts else total <= USABLE * target.memory,
            "donated": memory.alias_size_in_bytes / max(1, memory.output_size_in_bytes),
            "collectives": [c._asdict() for c in moved], "seconds": cost.seconds,
            "parts": parts(cost), "mfu": utilisation(step, cost, candidate, target),
            "compile_seconds": time.perf_counter() - began}


def cheaper(moved: list[Collective]) -> list[Collective]:
    """Return collectives as an accelerator's compiler would write them: what the CPU's writes as
    an all-reduce along fsdp and a slice is a reduce-scatter, half the bytes.
    """
    return [c._replace(bytes=c.bytes // 2) if c.kind == "all-reduce" and c.axes == "fsdp" else c
            for c in moved]


def abstract_batch(method: Method, rows: int, mesh: jax.sharding.Mesh) -> dict[str, Any]:
    """Return a global batch as shapes laid out over the mesh."""
    layout = NamedSharding(mesh, PartitionSpec(sharding.BATCH))
    spec = {**method.pretext.spec, "epoch": ((), "int32")}
    return {key: jax.ShapeDtypeStruct((rows, *shape), jnp.dtype(dtype), sharding=layout)
            for key, (shape, dtype) in spec.items()}


def main() -> None:
    """Answer one request from standard input on standard output."""
    request = json.load(sys.stdin)
    try:
        report = plan(request["config"], devices=request["devices"], chip_name=request["chip"],
                      mesh=request["mesh"], confirm=request["confirm"],
                      progress=lambda line: print(line, file=sys.stderr, flush=True))
    except SsljaxError as err:
        report = {"error": str(err)}
    json.dump(report, sys.stdout)


if __name__ == "__main__":
    main()
