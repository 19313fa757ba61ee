"""The page of a version: one file without scripts or outside parts, for screen, phone and paper.

Every text that came from data is escaped. Reads `Figures`; returns HTML. What a section shows in
detail folds away under its summary, which a keyboard opens.
"""

import importlib.resources
from collections.abc import Mapping, Sequence
from html import escape
from string import Template
from typing import Any

from data_pipelines.report.charts import histogram_chart, names_table, shares_bar
from data_pipelines.report.duplicates import Cluster, differences
from data_pipelines.report.figures import Figures
from data_pipelines.report.provenance import made_with, recipe_steps
from data_pipelines.report.samples import Row
from data_pipelines.report.statistics import LIMIT, OWN, Amount
from ssljax import __version__
from ssljax.core.charts import style_sheet
from ssljax.core.wording import count, digits, share, size

NAMES = 15                     # rows of a table of names
LEGEND = ('<ul class="legend"><li class="part-kept">kept</li>'
          '<li class="part-dropped">dropped</li></ul>')


def page(figures: Figures) -> str:
    """Return the page of a version as HTML."""
    made = [(title, body) for title, body in (
        ("Where rows went", went(figures)), ("Dropped beside kept", beside(figures)),
        ("Lengths and scores", measured(figures)), ("Languages", named(figures, "language")),
        ("Topics", named(figures, "topic")), ("Other columns", other_names(figures)),
        ("Where rows came from", origins(figures)), ("Duplicates", duplicates(figures)),
        ("Personal data", findings(figures)), ("Evaluation sets", planted(figures)),
        ("Recipe", recipe_steps(figures)), ("Versions", made_with(figures))) if body]
    links = "".join(f'<li><a href="#{anchor(t)}">{escape(t)}</a></li>' for t, _ in made)
    sections = "\n".join(f'<section id="{anchor(t)}"><h2>{escape(t)}</h2>\n{body}</section>'
                         for t, body in made)
    files = importlib.resources.files(__package__)
    return Template(files.joinpath("report.html").read_text("utf-8")).substitute(
        style=style_sheet() + files.joinpath("report.css").read_text("utf-8"),
        title=escape(f"{figures.name} {figures.version.name}"), headline=headline(figures),
        tiles=tiles(figures), links=links, sections=sections, version=escape(__version__),
        seed=figures.seed)


def anchor(title: str) -> str:
    """Return the id of a section."""
    return title.lower().replace(" ", "-")


def headline(figures: Figures) -> str:
    """Return the result in one sentence."""
    account = figures.account
    return escape(f"{count(account.kept)} of {count(account.read)} documents kept, "
                  f"{share(account.kept, account.read)}")


def tiles(figures: Figures) -> str:
    """Return the figures at the top."""
    account, found = figures.account, figures.statistics
    text = found.funnel.get(("", ""), Amount()).bytes
    shown = [("read", count(account.read), ""),
             ("kept", count(account.kept), share(account.kept, account.read)),
             ("dropped", count(account.dropped), share(account.dropped, account.read)),
             ("errors", count(account.errors), share(account.errors, account.read)),
             ("text kept", size(text), share(text, sum(a.bytes for a in found.funnel.values())))]
    if found.tokens:
        shown.append(("tokens", count(found.tokens), f"{digits(text / found.tokens)} bytes each"))
    return "".join(f"<div><dt>{escape(n)}</dt><dd>{escape(v)}<small>{escape(w)}</small></dd></div>"
                   for n, v, w in shown)


def went(figures: Figures) -> str:
    """Return the funnel: what each step was given, and what it dropped for which reason."""
    account, funnel = figures.account, figures.statistics.funnel
    whole = account.read - account.forgotten
    sum_ = (f"{count(account.read)} read = {count(account.kept)} kept + {count(account.dropped)} "
            f"dropped + {count(account.errors)} errors"
            + (f" + {count(account.forgotten)} forgotten" if account.forgotten else ""))
    rows, left = "", whole
    order = dict.fromkeys([*(s["name"] for s in figures.steps), *(s for s, r in funnel if r)])
    for step in order:
        reasons = sorted(((r, a) for (s, r), a in funnel.items() if s == step and r),
                         key=lambda item: (-item[1].rows, item[0]))
        gone = Amount(sum(a.rows for _, a in reasons), sum(a.bytes for _, a in reasons))
        left -= gone.rows
        rows += funnel_row("step", step, left, gone, whole, account.read)
        rows += "".join(funnel_row("reason", r, 0, a, whole, account.read) for r, a in reasons)
    kept = funnel.get(("", ""), Amount())
    rows += (f'<tr class="step"><th scope="row">kept</th><td class="bar-cell">'
             f'{shares_bar((("kept", kept.rows),), whole)}</td><td></td>'
             f"<td></td><td></td><td>{count(kept.rows)}</td></tr>")
    return (f'<p class="sum"><span class="tick" aria-hidden="true">✓</span> {escape(sum_)}: every '
            f'row is accounted for.</p>{LEGEND}<div class="wide"><table class="funnel"><thead><tr>'
            '<th scope="col">step, reason</th><td class="bar-cell"></td>'
            '<th scope="col">dropped</th>'
            '<th scope="col">of all</th><th scope="col">text</th><th scope="col">left</th></tr>'
            f"</thead><tbody>{rows}</tbody></table></div>")


def funnel_row(kind: str, name: str, left: int, gone: Amount, whole: int, read: int) -> str:
    """Return one row of the funnel."""
    parts = (("kept", left), ("dropped", gone.rows)) if kind == "step" else (
        ("dropped", gone.rows),)
    cells = (count(gone.rows), share(gone.rows, read), size(gone.bytes)) if gone.rows else (
        "", "", "")
    label = f'<a href="#r-{escape(name)}">{escape(name)}</a>' if kind == "reason" else escape(name)
    return (f'<tr class="{kind}"><th scope="row">{label}</th><td class="bar-cell">'
            f"{shares_bar(parts, whole)}</td>" + "".join(f"<td>{c}</td>" for c in cells)
            + f"<td>{count(left) if kind == 'step' else ''}</td></tr>")


def beside(figures: Figures) -> str:
    """Return samples of every reason, beside as many rows that were kept."""
    kept, made = figures.samples.of("", ""), ""
    reasons = sorted((k for k in figures.statistics.funnel if k[1]),
                     key=lambda k: (-figures.statistics.funnel[k].rows, k))
    for number, (step, reason) in enumerate(reasons):
        dropped = figures.samples.of(step, reason)
        start = number * len(dropped) % max(1, len(kept))
        some = (kept[start:] + kept[:start])[:len(dropped)]
        shown = [n for n, by in figures.columns.items() if by == step and n not in OWN]
        columns = "".join(
            f'<div><h4>{title}</h4>{"".join(sample(r, shown) for r in rows)}</div>'
            for title, rows in (("dropped", dropped), ("kept", some)))
        made += (f'<details id="r-{escape(reason)}"{" open" if not number else ""}><summary>'
                 f"<b>{escape(reason)}</b> <span>{escape(step)}, "
                 f"{count(figures.statistics.funnel[step, reason].rows)} rows</span></summary>"
                 f'<div class="pair">{columns}</div></details>')
    return made


def sample(row: Row, columns: Sequence[str]) -> str:
    """Return one row: where it is from, what was measured, how it begins."""
    scores = [(n, row.get(n)) for n in columns if row.get(n) is not None]
    measured = [f"{n} {number(v)}" for n, v in scores]
    if row["dropped"] and row["detail"]:
        measured.insert(0, str(row["detail"]))
    words = f'<p class="measured">{escape(", ".join(measured))}</p>' if measured else ""
    text = escape(row["text"] or "") or '<i class="missing">no text</i>'
    return (f'<article class="row"><p class="place">{place(row)}</p>{words}'
            f'<pre class="sample" tabindex="0">{text}</pre></article>')


def place(row: Row) -> str:
    """Return where a row is from: id, file, byte or row, address."""
    at = f"byte {row['offset']:,}" if row.get("offset") else f"row {row['row']}"
    url = f" <span>{escape(row['url'])}</span>" if row.get("url") else ""
    return f"<code>{escape(row['id'])}</code> {escape(row['source'])}, {at}{url}"


def number(value: Any) -> str:
    """Return a value as people read it."""
    return digits(value) if isinstance(value, float) else str(value)


def measured(figures: Figures) -> str:
    """Return histograms of lengths and of every score that a step added."""
    charts = "".join(
        histogram_chart(h, title=name.replace("_", " "), note=figures.columns.get(name, ""))
        for name, h in figures.statistics.histograms.items())
    return f'{LEGEND}<div class="charts">{charts}</div>' if charts else ""


def named(figures: Figures, column: str) -> str:
    """Return the most frequent values of a column of names."""
    tally = figures.statistics.tallies.get(column)
    if tally is None or not tally.names:
        return ""
    rest = len(tally.names) - NAMES
    note = (f'<p class="note">and {count(rest)} more.</p>' if rest > 0 else "") + (
        f'<p class="note">More than {count(LIMIT)} values: counts of rare ones are too low.</p>'
        if tally.cut else "")
    return names_table(tally.top(NAMES), head=column.replace("_", " ")) + note


def other_names(figures: Figures) -> str:
    """Return the other columns of names that steps added."""
    shown = [n for n in figures.statistics.tallies
             if n not in ("source", "host", "licence", "language", "topic")]
    return "".join(f"<h3>{escape(n)}</h3>{table}" for n in shown if (table := named(figures, n)))


def origins(figures: Figures) -> str:
    """Return licences, hosts and files."""
    return "".join(f"<h3>{title}</h3>{table}" for title, column in (
        ("licences", "licence"), ("hosts", "host"), ("files", "source"))
        if (table := named(figures, column)))


def duplicates(figures: Figures) -> str:
    """Return clusters: the survivor beside its copies, their differences marked."""
    if not figures.copies:
        return ""
    made = ""
    for reason, copies in sorted(figures.copies.items(), key=lambda item: -item[1]):
        own = [c for c in figures.clusters if c.reason == reason]
        made += f"<h3>{escape(reason.replace('_', ' '))}: {count(copies)} copies</h3>" + "".join(
            cluster(c, number == 0) for number, c in enumerate(own))
    return ("<p>The largest clusters, then others at random: a survivor beside its copies. What "
            f"only one of the two has is marked.</p>{made}")


def cluster(found: Cluster, first: bool) -> str:
    """Return one cluster."""
    pairs = ""
    for copy in found.copies:
        left, right = differences(found.survivor["text"] or "", copy["text"] or "")
        gone = found.survivor["dropped"]
        kind = f"survivor, later dropped: {gone}" if gone else "survivor"
        title = f"copy, similarity {copy['detail'].partition(' ')[2] or 1}"
        pairs += '<div class="pair">' + "".join(
            f'<div><h4>{escape(name)}</h4><p class="place">{place(row)}</p>'
            f'<pre class="sample" tabindex="0">{marked(pieces, tag)}</pre></div>'
            for name, row, pieces, tag in ((kind, found.survivor, left, "del"),
                                           (title, copy, right, "ins"))) + "</div>"
    label = f"{count(found.size)} cop{'y' if found.size == 1 else 'ies'} of"
    return (f'<details{" open" if first else ""}><summary><b>{label}</b> '
            f"<span>{escape(found.survivor['source'])} {escape(found.survivor['id'])}</span>"
            f"</summary>{pairs}</details>")


def marked(pieces: Sequence[tuple[str, str]], tag: str) -> str:
    """Return pieces as markup, those that differ in a tag."""
    return "".join(f"<{tag}>{escape(t)}</{tag}>" if kind == "differs" else escape(t)
                   for kind, t in pieces)


def findings(figures: Figures) -> str:
    """Return how much personal data was found, by kind."""
    rows = "".join(f'<tr><th scope="row">{escape(n.removeprefix("pii_"))}</th><td>{count(a)}</td>'
                   f"<td>{count(b)}</td></tr>" for n, (a, b) in figures.statistics.findings.items())
    return ('<table class="figures"><thead><tr><th scope="col">kind</th><th scope="col">documents'
            f'</th><th scope="col">findings</th></tr></thead><tbody>{rows}</tbody></table>'
            if rows else "")


def planted(figures: Figures) -> str:
    """Return the share of planted items that decontamination found, by edit and set."""
    return "".join(recall_table(r) for r in figures.reports if "recall" in r)


def recall_table(report: Mapping[str, Any]) -> str:
    """Return one report of planted recall."""
    edits = report["recall"]
    sets = list(dict.fromkeys(s for found in edits.values() for s in found))
    head = "".join(f'<th scope="col">{escape(e)}</th>' for e in edits)
    rows = "".join(f'<tr><th scope="row">{escape(s)}</th>' + "".join(
        f"<td>{share(found[s], 1) if s in found else ''}</td>" for found in edits.values())
        + "</tr>" for s in sets)
    return (f"<p>{count(report['planted'])} items of the evaluation sets were planted into "
            f"documents that were kept, each with every edit; this is the share that "
            f"{escape(report['step'])} finds. {count(report['short'])} items are too short to be "
            'searched for.</p><div class="wide"><table class="figures"><thead><tr>'
            f'<th scope="col">set</th>{head}</tr></thead><tbody>{rows}</tbody></table></div>')
