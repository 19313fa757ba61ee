"""report.html from figures: one file without scripts or outside parts, for screen, phone and paper.

Every text that came from data or a model is escaped. Reads the figures of `runs.report.complete`
and the template report.html beside this file; returns the page. Free of jax.
"""

import importlib.resources
from collections.abc import Mapping, Sequence
from html import escape
from string import Template
from typing import Any

from ssljax import __version__
from ssljax.core.charts import Bar, bar_chart, line_chart, nice_axis, style_sheet
from ssljax.core.wording import MISSING, count, digits, duration, share, size
from ssljax.runs.compare import BASELINES, verdict

Figures = Mapping[str, Any]
STAGES = {"curate": "curate: raw files to token shards", "trial": "trial: how fast is this machine",
          "evaluate": "evaluate: model and baselines"}


def page(figures: Figures) -> str:
    """Return the report as HTML."""
    sections = (section("What went in", went_in(figures)),
                section("Training", trained(figures)),
                section("Held-out text", judged(figures)),
                section("Other evaluations", other_judgements(figures)),
                section("Samples", samples(figures)),
                section("Serving", served(figures)),
                section("Where the time went", spent(figures)),
                section("How to go on", go_on(figures)),
                section("Made with", made_with(figures)))
    return fill("report.html", brand=escape(brand(figures)), headline=headline(figures),
                tiles=tiles(figures), sections="\n".join(s for s in sections if s))


def fill(template: str, **parts: str) -> str:
    """Return a template beside this file with its parts, which are markup, and the style sheet."""
    files = importlib.resources.files(__package__)
    return Template(files.joinpath(template).read_text("utf-8")).substitute(
        parts, style=style_sheet(), version=escape(__version__))


def section(title: str, body: str) -> str:
    """Return a titled section; nothing for an empty body."""
    return f"<section><h2>{escape(title)}</h2>\n{body}</section>" if body else ""


def missing(what: str, verb: str) -> str:
    """Return the line that stands where something was not measured."""
    return f'<p class="missing">{escape(what)}: run <code>ssljax {escape(verb)}</code>.</p>'


def brand(figures: Figures) -> str:
    """Return the line above the headline: which report this is."""
    written = figures.get("written")
    return f"ssljax report, {written}" if written else "ssljax report"


def headline(figures: Figures) -> str:
    """Return the result in one sentence."""
    bits, saved = figures["eval"]["bits_per_byte"], figures.get("against") or {}
    if bits is None:
        return "This model has not been judged on held-out text yet."
    out = f"{bits:.3f} bits for each byte of text it has never seen"
    words = [f"{'beats' if saved[name]['bits_per_byte'] > 0 else 'misses'} {called(name)} by "
             f"{abs(saved[name]['percent']):.1f} %" for name in ("fivegram", "xz") if name in saved]
    return escape(f"{out}: {' and '.join(words)}." if words else f"{out}.")


def called(baseline: str) -> str:
    """Return a baseline's name in a sentence, kept on one line."""
    article = "" if baseline == "xz" else "the "
    name = BASELINES[baseline].replace("-", "\N{NON-BREAKING HYPHEN}")
    return article + name.replace(" ", "\N{NO-BREAK SPACE}")


def tiles(figures: Figures) -> str:
    """Return the figures to remember."""
    train, serve, total = figures["train"], figures["serve"], sum(seconds_of(figures).values())
    first = serve["first_token_ms_p50"]
    cells = [("held-out text", number(figures["eval"]["bits_per_byte"]), "bits per byte"),
             ("trained on", count(train["tokens"]), "tokens"),
             ("training", count(train["tokens_per_second"]), "tokens per second"),
             ("first token", MISSING if first is None else digits(first), "ms, median"),
             ("serving", rate(serve["tokens_per_second"]), "tokens per second"),
             ("whole journey", duration(total or None), "")]
    return "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}<small>{escape(unit)}</small>"
                   "</dd></div>" for name, value, unit in cells)


def number(x: float | None) -> str:
    """Return a number of the order of one, a dash for None."""
    return MISSING if x is None else f"{x:.3f}"


def rate(x: float | None) -> str:
    """Return tokens a second: a decimal where they are few."""
    return MISSING if x is None else digits(x) if x < 100 else count(x)


def went_in(figures: Figures) -> str:
    """Say what was read, kept and dropped, with a bar for each reason."""
    documents, data = figures["documents"], figures.get("data") or {}
    read, kept, dropped = (documents[k] for k in ("read", "kept", "dropped"))
    if read is None:
        return missing("No curated data here", "curate")
    lost = sum((dropped or {}).values())
    lead = f"{count(read)} documents were read and {count(kept)} kept ({share(kept, read)})."
    bars = [Bar(str(reason).replace("_", " "), n, count(n), share(n, read))
            for reason, n in sorted((dropped or {}).items(), key=lambda item: -item[1]) if n]
    chart = (f"<h3>{count(lost)} dropped, by reason</h3>{bar_chart(bars, label='dropped')}"
             if bars else "<p>None was dropped.</p>")
    return f"<p>{escape(lead)}</p>{split_table(data)}{chart}"


def split_table(data: Figures) -> str:
    """Return documents, tokens and bytes of each split."""
    splits = data.get("splits") or {}
    rows = [(name, count(s.get("documents")), count(s.get("tokens")), size(s.get("text_bytes")))
            for name, s in splits.items()]
    if not rows:
        return ""
    vocabulary = data.get("vocab_size")
    note = f"<p class='note'>Vocabulary of {count(vocabulary)} tokens.</p>" if vocabulary else ""
    return table(("split", "documents", "tokens", "text"), rows) + note


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table whose first column is text and whose others are numbers."""
    head = "".join(f"<th>{escape(name)}</th>" for name in header)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>"
                   for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def trained(figures: Figures) -> str:
    """Return the curves of training."""
    train, points = figures["train"], figures.get("curve") or []
    if train["steps"] is None and not points:
        return missing("No training here", "pretrain")
    unit = "nats per target" if train["tokens"] else "as the objective defines it"
    seen = f" on {count(train['tokens'])} tokens" if train["tokens"] else ""
    lead = (f"{count(train['steps'])} steps{seen}; the last logged loss is "
            f"{number(train['final_loss'])}, {unit}.")
    if train.get("rejected"):
        lead += f" {count(train['rejected'])} steps were rejected because they were not finite."
    charts = [curve(points, "loss", "Loss", unit, number),
              curve(points, "bits_per_byte", "Held-out text", "bits per byte", number),
              curve(points, "tokens_per_second", "Throughput", "tokens per second", rate)]
    return f'<p>{escape(lead)}</p><div class="charts">{"".join(charts)}</div>'


def curve(points: Sequence[Figures], name: str, title: str, unit: str, text: Any) -> str:
    """Return the line of one logged figure, nothing where fewer than two steps have it.

    A rate is drawn from zero; a loss has no meaningful zero and gets the range of its values.
    """
    line = [(p["step"], p[name]) for p in points if p.get(name) is not None]
    if len(line) < 2:
        return ""
    values = [value for _, value in line]
    low = 0.0 if name == "tokens_per_second" else min(values)
    return line_chart(line, title=title, unit=unit, y=nice_axis(low, max(values)), text=text)


def judged(figures: Figures) -> str:
    """Return the model beside its baselines, and in words by how much it beats or misses each."""
    result, base, saved = figures["eval"], figures["baseline"], figures.get("against") or {}
    if result["bits_per_byte"] is None:
        return missing("Not judged on held-out text", "evaluate")
    whisker = (result["low"], result["high"]) if result.get("low") is not None else None
    bars = [Bar("this model", result["bits_per_byte"], number(result["bits_per_byte"]),
                style="ours", interval=whisker)]
    measured = {label: base.get(f"{name}_bits_per_byte") for name, label in BASELINES.items()}
    bars += [Bar(label, value, number(value)) for label, value in measured.items()
             if value is not None]
    bars.sort(key=lambda bar: bar.value)
    hardest_first = sorted(saved.items(), key=lambda item: item[1]["bits_per_byte"])
    words = "".join(f'<li class="{"good" if s["bits_per_byte"] > 0 else "bad"}">The model '
                    f"{escape(verdict(called(name), s))}.</li>" for name, s in hardest_first)
    return ('<p>Bits for each byte, fewer is better.</p>'
            f"{bar_chart(bars, label='bits per byte')}<ul class='verdicts'>{words}</ul>"
            f'<p class="note">{escape(how_judged(result, base))}</p>')


def how_judged(result: Figures, base: Figures) -> str:
    """Say what was measured, so that the figures can be questioned."""
    says = []
    if result.get("documents") is not None:
        says.append(f"{count(result['documents'])} documents of {size(result['bytes'])}, none of "
                    "them trained on, each with its end: "
                    f"{count(result['targets'])} targets, every one counted once.")
    if result.get("window_targets") is not None:
        overlap = result["window_overlap"]
        context = (f"repeat {count(overlap)} targets as context" if overlap else
                   "see nothing before the cut")
        says.append(f"{count(result['cut_documents'])} documents longer than "
                    f"{count(result['window_targets'])} targets were cut into windows; later "
                    f"windows {context}.")
    if result.get("low") is not None:
        says.append(f"The 95 % interval over documents is {result['low']:.3f} to "
                    f"{result['high']:.3f}.")
    if base.get("train_bytes") is not None:
        says.append("The unigram and interpolated 5-grams (Witten-Bell unless named) learnt from "
                    f"{size(base['train_bytes'])} of {size(base['train_bytes_available'])} of "
                    "training text; xz compresses the held-out documents as one stream.")
    return " ".join(says)


def other_judgements(figures: Figures) -> str:
    """Return the figures of evaluators that are not about text."""
    return "".join(
        f"<h3>{escape(label)}</h3>" + table(("", "value", "95 % interval"),
                                            [cells(*item) for item in result.items()])
        for label, result in (figures.get("evals") or {}).items())


def cells(name: str, figure: Figures) -> tuple[str, str, str]:
    """Return the row of one figure of an evaluator: name, value, interval."""
    value, low, high = (figure[k] for k in ("value", "low", "high"))
    known = low is not None and high is not None and low != high
    return (name.replace("_", " "), MISSING if value is None else digits(value, 4),
            f"{digits(low, 4)} to {digits(high, 4)}" if known else "")


def samples(figures: Figures) -> str:
    """Return what the model wrote, its prompts marked."""
    written = figures.get("samples") or []
    if not written:
        return missing("No samples", "generate ARTEFACT --prompt TEXT")
    blocks = "".join(f'<pre class="sample"><mark>{escape(s["prompt"])}</mark>'
                     f'{escape(s["text"])}</pre>' for s in written)
    return f'<p class="note">Prompts are marked; the rest is the model\'s, unedited.</p>{blocks}'


def served(figures: Figures) -> str:
    """Return what the artefact weighs and how fast it answers."""
    export, serve = figures["export"], figures["serve"]
    if export["bytes"] is None and serve["first_token_ms_p50"] is None:
        return missing("Neither exported nor served", "export")
    first = serve["first_token_ms_p50"]
    rows = [("artefact", size(export["bytes"])),
            ("runs on", ", ".join(export.get("platforms") or []) or MISSING),
            ("first token, median", MISSING if first is None else f"{digits(first)} ms"),
            ("tokens per second, one request", rate(serve["tokens_per_second"]))]
    if serve.get("requests_together"):
        rows.append((f"tokens per second, {count(serve['requests_together'])} requests at once",
                     rate(serve.get("tokens_per_second_together"))))
    return table(("", ""), rows)


def seconds_of(figures: Figures) -> dict[str, float]:
    """Return the seconds of each stage that was measured."""
    return {stage: s for stage, s in figures["seconds"].items() if isinstance(s, int | float)}


def spent(figures: Figures) -> str:
    """Return the seconds of each stage."""
    stages = seconds_of(figures)
    if not stages:
        return missing("Stages were not timed", "quickstart")
    total = sum(stages.values())
    bars = [Bar(STAGES.get(stage, stage), s, duration(s), share(s, total))
            for stage, s in stages.items()]
    return f"<p>{escape(duration(total))} in all.</p>{bar_chart(bars, label='seconds by stage')}"


def go_on(figures: Figures) -> str:
    """Return the commands to run next."""
    return "".join(f"<p>{escape(c['why'])}</p><pre class='command'>{escape(c['command'])}</pre>"
                   for c in figures.get("commands") or [])


def made_with(figures: Figures) -> str:
    """Return versions of data and software."""
    rows = [(name, str(version)) for name, version in (figures.get("versions") or {}).items()]
    data = figures.get("data") or {}
    if data.get("version"):
        rows.insert(0, (f"data {data.get('name') or ''}".strip(), data["version"]))
    return table(("", "version"), rows) if rows else ""
