"""Drop documents with words of a list: C4's bad words, or toxicity by their share.

Lists such as LDNOOBW (https://github.com/LDNOOBW, CC-BY-4.0) are not shipped; give the path of one,
an entry a line. C4 drops a page for one word (`max_words=0`), which takes medicine, law and speech
of minorities with it (Dodge et al. 2021, https://arxiv.org/abs/2104.08758); a share lets a mention
pass. Reads and returns the table of documents; `detail` says how many and which.
"""

import pathlib
from collections.abc import Sequence

import pyarrow as pa

from data_pipelines.kernels.word_list import WordList, compile_list, find
from data_pipelines.table import Step, drop, kept, texts
from ssljax.core.errors import ConfigError

ROWWISE = True
READS = ("path",)

# C4's exceptions: parts of ordinary words where no spaces part them.
ALLOWED = ("sm", "グロ", "女の子", "性")


def make(*, path: str, max_words: int = 0, max_share: float = 0.0, anywhere: bool = False,
         allow: Sequence[str] = ALLOWED, reason: str = "bad_words") -> Step:
    """Return the step. A document goes whose words of the list are above both bounds.

    Args:
        path: of the list.
        max_words: occurrences that are let pass.
        max_share: share of a document's words that is let pass; 0.01 is a word in a hundred.
        anywhere: also inside words, for Japanese, Thai and Chinese.
        allow: entries of the list that are let pass.
        reason: what drops are counted as, where a recipe has several lists.

    Raises:
        ConfigError: the list cannot be read or is empty.
    """
    try:
        lines = pathlib.Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as err:
        raise ConfigError(f"bad_words: the list {path} cannot be read: {err}; expected UTF-8 with "
                          "one entry a line.") from err
    entries = {line.strip() for line in lines} - {"", *allow}
    if not entries:
        raise ConfigError(f"bad_words: the list {path} is empty; expected one entry a line.")
    listed = compile_list(entries, anywhere=anywhere)

    def apply(table: pa.Table) -> pa.Table:
        rows = kept(table)
        found = (judge(text or "", listed, max_words, max_share) for text in texts(table, rows))
        return drop(table, {row: (reason, detail) for row, detail
                            in zip(rows.tolist(), found, strict=True) if detail})

    return apply


def judge(text: str, listed: WordList, max_words: int, max_share: float) -> str:
    """Return what condemns a text: "3 of 120: one two"; "" for nothing."""
    found, words = find(text, listed)
    count = sum(found.values())
    if count <= max_words or count <= max_share * words:
        return ""
    return f"{count} of {words}: {' '.join(found)}"[:200]
