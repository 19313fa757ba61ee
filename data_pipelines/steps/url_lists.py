"""Drop documents by their address: listed domains, addresses and words.

RefinedWeb's URL filter (Penedo et al. 2023, https://arxiv.org/abs/2306.01116) on lists of your own,
files of one entry a line where "#" begins a comment. The University of Toulouse keeps one of
domains (https://dsi.ut-capitole.fr/blacklists/). Reads and returns the table of documents, which
needs a column of addresses; `detail` is what was found. Rows without an address are kept.
"""

import pathlib

import pyarrow as pa

from data_pipelines.kernels.url_rules import SOFT, Lists, compile_subwords, judge, squeeze
from data_pipelines.table import Step, column, drop, kept
from ssljax.core.errors import ConfigError

ROWWISE = True
READS = ("domains", "urls", "words", "soft_words", "subwords")


def make(*, domains: str = "", urls: str = "", words: str = "", soft_words: str = "",
         subwords: str = "", max_soft: int = SOFT - 1, url: str = "url") -> Step:
    """Return the step.

    Args:
        domains: path of a list of hosts, which stand for their subdomains too. "url_domain"
        urls: of whole addresses. "url_listed"
        words: of words that condemn an address. "url_word"
        soft_words: of words of which some may be in an address. "url_soft_words"
        subwords: of letters that condemn an address wherever they stand. "url_subword"
        max_soft: soft words that are let pass.
        url: column of addresses.

    Raises:
        ConfigError: no list, or one that cannot be read.
    """
    if not any((domains, urls, words, soft_words, subwords)):
        raise ConfigError("url_lists: no list; give the path of at least one of domains, urls, "
                          "words, soft_words and subwords.")
    # An entry without a letter or digit of ASCII is nothing squeezed, and stands in every address.
    lists = Lists(frozenset(host.lower() for host in read_list(domains)),
                  frozenset(read_list(urls)), frozenset(map(squeeze, read_list(words))) - {""},
                  frozenset(map(squeeze, read_list(soft_words))) - {""},
                  compile_subwords(read_list(subwords)))

    def apply(table: pa.Table) -> pa.Table:
        if url not in table.column_names:
            raise ConfigError(f'url_lists: the table has no column "{url}"; columns: '
                              f"{', '.join(table.column_names)}.")
        addresses = column(table, url)
        found = {row: judge(addresses[row], lists, max_soft + 1) for row in kept(table).tolist()
                 if addresses[row]}
        return drop(table, {row: verdict for row, verdict in found.items() if verdict})

    return apply


def read_list(path: str) -> list[str]:
    """Return the entries of a list, none for no path.

    Raises:
        ConfigError: the file cannot be read.
    """
    if not path:
        return []
    try:
        lines = pathlib.Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as err:
        raise ConfigError(f"The list {path} cannot be read: {err.strerror}; expected a text file "
                          "of one entry a line.") from err
    return [entry for line in lines if (entry := line.strip()) and not entry.startswith("#")]
