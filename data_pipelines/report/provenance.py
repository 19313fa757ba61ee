"""The last sections of the page: the recipe's steps with their parameters, and the versions."""

import json
import time
from html import escape
from typing import Any

from data_pipelines.report.figures import Figures
from ssljax.core.wording import count

LONGEST = 120                  # characters of a parameter's value


def recipe_steps(figures: Figures) -> str:
    """Return every step with its version and parameters, defaults included."""
    rows = "".join(
        f'<tr><td>{number}</td><th scope="row">{escape(step["name"])}</th>'
        f"<td><code>{escape(step['version'])}</code></td><td>{parameters(step['parameters'])}</td>"
        f"<td>{escape(', '.join(n for n, by in figures.columns.items() if by == step['name']))}"
        "</td></tr>" for number, step in enumerate(figures.steps, 1))
    fields = "".join(f'<tr><th scope="row">{escape(n)}</th><td>{escape(said(v))}</td></tr>'
                     for n, v in figures.recipe.items())
    return ('<div class="wide"><table class="words"><thead><tr><td></td><th scope="col">step</th>'
            '<th scope="col">version</th><th scope="col">parameters</th><th scope="col">columns'
            f"</th></tr></thead><tbody>{rows}</tbody></table></div><h3>other fields</h3>"
            f'<table class="words"><tbody>{fields}</tbody></table>')


def parameters(values: dict[str, Any]) -> str:
    """Return parameters as markup."""
    return " ".join(f"<code>{escape(n)}={escape(said(v))}</code>" for n, v in values.items())


def said(value: Any) -> str:
    """Return plain data in few characters."""
    text = value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST else f"{text[:LONGEST - 1]}…"


def made_with(figures: Figures) -> str:
    """Return what the version was made from and with, and the other versions of the table."""
    facts = [("version", figures.version.name), ("Iceberg snapshot", str(figures.version.snapshot)),
             ("code", figures.code)]
    for parent in figures.parents:
        facts += [(f"input {n}", said(v)) for n, v in parent.items()
                  if n not in ("version", "table")]
    rows = "".join(f'<tr><th scope="row">{escape(n)}</th><td>{escape(v)}</td></tr>'
                   for n, v in facts if v)
    known = "".join(
        f'<tr><th scope="row"><code>{escape(v.name)}</code></th>'
        f"<td>{time.strftime('%Y-%m-%d %H:%M', time.gmtime(v.time_ms / 1000))} UTC</td>"
        f"<td>{escape(' '.join(t for t in v.tags if t != f'v{v.name}'))}</td>"
        f"<td>{'this one' if v.snapshot == figures.version.snapshot else ''}</td></tr>"
        for v in figures.known)
    return (f'<table class="words"><tbody>{rows}</tbody></table><h3>{count(len(figures.known))} '
            f'in this table</h3><table class="words"><tbody>{known}</tbody></table>')
