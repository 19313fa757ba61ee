"""Lists against which an address is held, as RefinedWeb and FineWeb do.

Penedo et al. 2023, section 3.1 (https://arxiv.org/abs/2306.01116): listed domains and addresses,
one banned word, two soft ones, banned letters anywhere in the address. A domain stands for its
subdomains too, where datatrove 0.10.1 asks a list of public suffixes and compares the registered
domain and the whole host alone. Reads an address, returns the first rule that it breaks.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import urlsplit

NOT_WORD = re.compile(r"[^a-zA-Z0-9]+")
SOFT = 2        # soft words of different kinds


class Lists(NamedTuple):
    """What is banned.

    domains:  hosts, each with its subdomains
    urls:     whole addresses
    words:    between signs in an address
    soft:     words of which SOFT are too many
    subwords: anywhere in an address without its signs
    """

    domains: frozenset[str] = frozenset()
    urls: frozenset[str] = frozenset()
    words: frozenset[str] = frozenset()
    soft: frozenset[str] = frozenset()
    subwords: re.Pattern[str] | None = None


def squeeze(text: str) -> str:
    """Return the letters and digits of a text, in lower case."""
    return NOT_WORD.sub("", text).lower()


def compile_subwords(words: Iterable[str]) -> re.Pattern[str] | None:
    """Return the pattern of any of the words, None for none."""
    parts = sorted({squeezed for word in words if (squeezed := squeeze(word))})
    return re.compile("|".join(parts)) if parts else None


def judge(url: str, lists: Lists, soft: int = SOFT) -> tuple[str, str] | None:
    """Return the first rule that an address breaks: (reason, what was found)."""
    host = find_host(url)
    domain = next((d for d in parents(host) if d in lists.domains), None)
    if domain:
        return "url_domain", domain
    if url in lists.urls:
        return "url_listed", url
    words = set(NOT_WORD.split(url))
    banned = sorted(words & lists.words)
    if banned:
        return "url_word", banned[0]
    found = sorted(words & lists.soft)
    if len(found) >= soft:
        return "url_soft_words", " ".join(found)
    match = lists.subwords.search(squeeze(url)) if lists.subwords else None
    return ("url_subword", match.group()) if match else None


def find_host(url: str) -> str:
    """Return the host of an address, "" where it has none."""
    try:
        return (urlsplit(url if "//" in url else f"//{url}").hostname or "").rstrip(".")
    except ValueError:              # "http://[bad": no address
        return ""


def parents(host: str) -> list[str]:
    """Return a host and the domains that it is part of: a.b.c, b.c, c."""
    parts = host.split(".")
    return [".".join(parts[i:]) for i in range(len(parts))]
