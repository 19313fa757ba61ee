"""A plan as people read it. Free of jax."""

from collections.abc import Mapping
from typing import Any

SHOWN = 10                           # candidates in the table


def plan_text(report: Mapping[str, Any]) -> str:
    """Return the text of a report of runs/plan.py."""
    best = report["candidates"][0]
    sections = [model_text(report), mesh_text(report, best), memory_text(report, best),
                time_text(report, best)]
    if best["compiled"]:
        sections.append(collectives_text(best["compiled"]))
    if not report["given"]:
        sections.append(table_text(report))
    return "\n\n".join((*sections, "Run it with: " + " ".join(report["overrides"]))) + "\n"


def model_text(report: Mapping[str, Any]) -> str:
    """Return parameters and FLOPs."""
    f, unit = report["flops"], report["unit"].rstrip("s")
    causal = " (causal: halved)" if f["causal"] else ""
    return (f"Parameters       {quantity(f['params'])} total, {quantity(f['non_embedding'])} "
            f"non-embedding, {quantity(f['active'])} active\n"
            f"FLOPs per {unit:6} {quantity(f['per_unit'])} forward and backward = "
            f"6 N blocks {quantity(f['blocks'])} + 6 V D head {quantity(f['head'])} + "
            f"12 L D depth attention{causal} {quantity(f['attention'])}")


def mesh_text(report: Mapping[str, Any], best: Mapping[str, Any]) -> str:
    """Return which mesh the rest is about."""
    which = "The mesh asked for" if report["given"] else f"Best of {report['considered']} meshes"
    return f"{which}, {report['devices']} x {report['chip']}: {best['name']}"


def memory_text(report: Mapping[str, Any], best: Mapping[str, Any]) -> str:
    """Return bytes on a device, by arithmetic and as compiled."""
    parts = best["bytes"]
    named = ", ".join(f"{name} {size(parts[name])}" for name in (
        "parameters", "optimizer", "gradients", "activations", "logits", "batch"))
    limit = report["usable"] * report["memory"]
    lines = [f"Bytes on a device, by arithmetic: {size(parts['total'])}: {named}"]
    total, fits = parts["total"], best["fits"]
    if best["compiled"]:
        c = best["compiled"]
        total, fits = c["total"], c["fits"]
        why = ("not a measure: a CPU multiplies every token with every expert, so arithmetic "
               "decides" if c["every_expert"] else "an upper estimate: no fused attention on a CPU")
        lines.append(f"  as compiled: {size(total)}: arguments {size(c['arguments'])}, temporary "
                     f"{size(c['temporary'])} ({why})")
    lines.append(f"  {'fits' if fits else 'DOES NOT FIT'} in {size(limit)}, "
                 f"{report['usable']:.0%} of the chip's memory")
    if not fits:
        lines.append("  To make it fit: more accumulation (--config.accumulate=N), remat of the "
                     "model, more fsdp, or more devices.")
    return "\n".join(lines)


def time_text(report: Mapping[str, Any], best: Mapping[str, Any]) -> str:
    """Return the predicted step and where its time goes."""
    numbers = best["compiled"] or best
    p = numbers["parts"]
    rate = report["units"] / numbers["seconds"]
    return (f"Predicted step   {duration(numbers['seconds'])}, {quantity(rate)} "
            f"{report['unit']}/s, MFU {numbers['mfu']:.1%}\n"
            f"  products {duration(p['products'])} at {report['efficiency']:.0%} of the peak, "
            f"memory traffic {duration(p['memory'])}, pipeline bubble {duration(p['bubble'])}\n"
            f"  collectives: {duration(p['hidden'])} of weights and gradients beside the "
            f"products, {duration(p['exposed'])} of activations between them\n"
            "  A roofline, within a factor 1.35 of published runs (tools/bench/published.py); "
            f"chip: {report['source']}")


def collectives_text(compiled: Mapping[str, Any]) -> str:
    """Return the list of what a compiled step moves."""
    rows = [f"  {c['kind']:20} {c['axes']:22} x{c['count']:<6} {size(c['bytes'])}"
            for c in compiled["collectives"]] or ["  none"]
    return "\n".join(["Collectives of a step, bytes of results on a device:", *rows])


def table_text(report: Mapping[str, Any]) -> str:
    """Return the table of candidates."""
    lines = [f"{'candidate':44} {'memory':>9} {'step':>9} {'MFU':>6}   compiled: memory, step"]
    for row in report["candidates"][:SHOWN]:
        line = (f"{row['name'][:44]:44} {size(row['bytes']['total']):>9} "
                f"{duration(row['seconds']):>9} {row['mfu']:6.1%}")
        if row["compiled"]:
            line += f"   {size(row['compiled']['total'])}, {duration(row['compiled']['seconds'])}"
        if "refused" in row:
            line += f"   refused: {row['refused'][:60]}"
        lines.append(line + ("" if row["fits"] else "   does not fit"))
    return "\n".join(lines)


def quantity(x: float) -> str:
    """Return a number with three digits and K, M, G, T or P."""
    for unit in ("", "K", "M", "G", "T"):
        if abs(x) < 999.5:
            return f"{x:.3g}{unit}"
        x /= 1000
    return f"{x:.3g}P"


def size(x: float) -> str:
    """Return bytes in MB or GB."""
    return f"{x / 1e9:.1f} GB" if x >= 1e9 else f"{x / 1e6:.1f} MB"


def duration(x: float) -> str:
    """Return seconds in us, ms or s."""
    return f"{x * 1e6:.0f} us" if x < 1e-3 else f"{x * 1e3:.3g} ms" if x < 1 else f"{x:.3g} s"
