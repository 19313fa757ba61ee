"""FineWeb's rules of lines: ends, short ones, repeated ones, lists.

Penedo et al. 2024, section 3.6 (https://arxiv.org/abs/2406.17557), with the constants of datatrove
0.10.1. Reads a text and the number of its words, returns the first rule that it breaks.
"""

from collections.abc import Callable

from data_pipelines.kernels.gopher import below
from data_pipelines.kernels.punctuation import TERMINAL
from data_pipelines.kernels.repetition import Verdict, exceeds, later_copies

ENDS, SHORT_LINES, SHORT, COPIES, BREAKS = 0.12, 0.67, 30, 0.01, 0.3


def judge(text: str, count: Callable[[str], int]) -> Verdict:
    """Return the first rule that a text breaks.

    Args:
        text: of the document.
        count: text -> its words; asked only where it can matter.
    """
    lines = [line for line in text.split("\n") if line and not line.isspace()]
    if not lines:
        return "empty", "0"
    verdict = below("line_punct_ratio", sum(line[-1] in TERMINAL for line in lines) / len(lines),
                    ENDS)
    if verdict:
        return verdict
    breaks = text.count("\n")
    return (exceeds("short_line_ratio", sum(len(line) <= SHORT for line in lines) / len(lines),
                    SHORT_LINES)
            or exceeds("char_dup_ratio", later_copies(lines)[1] / (len(text) - breaks), COPIES)
            or (exceeds("list_ratio", breaks / count(text), BREAKS) if breaks else None))
