"""Drop source files that are minified, data, generated or XML; the first failing rule names it.

Rules and sources: data_pipelines/kernels/code_lines.py. Reads and returns the table of documents;
`detail` is the value measured.
"""

import pyarrow as pa

from data_pipelines.kernels.code_lines import SCANNED, XML_HEAD, CodeLines, measure
from data_pipelines.table import Step, drop, kept, texts
from ssljax.core.errors import ConfigError

ROWWISE = True


def make(*, max_line: int = 1000, max_mean_line: float = 100.0, min_alphanumeric: float = 0.25,
         generated: bool = False, xml: bool = False) -> Step:
    """Return the step; the defaults are The Stack's and StarCoder's.

    Args:
        max_line: characters of the longest line. "code_long_line"
        max_mean_line: mean characters of a line. "code_long_lines"
        min_alphanumeric: share of letters and digits. "code_few_letters"
        generated: whether files that a program wrote are kept. "code_generated"
        xml: whether files that begin as XML are kept. "code_xml"

    Raises:
        ConfigError: bounds that nothing meets.
    """
    if max_line < 1 or max_mean_line <= 0 or not 0 <= min_alphanumeric < 1:
        raise ConfigError(f"code_lines: max_line {max_line}, max_mean_line {max_mean_line}, "
                          f"min_alphanumeric {min_alphanumeric}; expected at least 1, more than 0, "
                          "and a share.")

    def judge(found: CodeLines) -> tuple[str, str] | None:
        if found.longest > max_line:
            return "code_long_line", f"{found.longest} > {max_line}"
        if found.mean > max_mean_line:
            return "code_long_lines", f"{found.mean:.4g} > {max_mean_line:g}"
        if found.alphanumeric < min_alphanumeric:
            return "code_few_letters", f"{found.alphanumeric:.4g} < {min_alphanumeric:g}"
        if found.generated and not generated:
            return "code_generated", f"its first {SCANNED} lines say so"
        if found.xml and not xml:
            return "code_xml", f"its first {XML_HEAD} characters say so"
        return None

    def apply(table: pa.Table) -> pa.Table:
        rows = kept(table)
        found = zip(rows.tolist(), map(judge, map(measure, texts(table, rows))), strict=True)
        return drop(table, {row: verdict for row, verdict in found if verdict})

    return apply
