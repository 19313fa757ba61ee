"""Personal data in text: found by pattern, and believed only where a check of its own agrees.

Cards pass Luhn (ISO/IEC 7812-1) and an issuer's prefix and length, IBANs mod 97 (ISO 13616) and
their country's length, addresses are public (RFC 6890 as `ipaddress` has it), telephone numbers are
written as such (E.164 with a plus, or North American with separators). Guards against versions,
ISBNs and DOIs follow BigCode and dolma (https://arxiv.org/abs/2301.03988,
https://arxiv.org/abs/2402.00159). Names and street addresses need a model and are not attempted.

Reads a string, returns spans; `redact` puts something else in their place.
"""

import bisect
import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from data_pipelines.kernels.secrets import find_secrets

EMAIL = re.compile(
    r"(?<![A-Za-z0-9._%+'-])[A-Za-z0-9_](?:[A-Za-z0-9._%+'-]{0,62}[A-Za-z0-9_+-])?@"
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.){1,8}[A-Za-z]{2,24}(?![A-Za-z0-9@])")
OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
IPV4 = re.compile(rf"(?<![\w.-]){OCTET}(?:\.{OCTET}){{3}}(?![\w-]|\.\d)", re.ASCII)
IPV6 = re.compile(r"(?<![\w:.])[23][0-9A-Fa-f]{3}:(?:[0-9A-Fa-f]{0,4}:){1,6}[0-9A-Fa-f]{0,4}"
                  r"(?![\w:])", re.ASCII)
CARD = re.compile(r"(?<![\w.,+/=-])(?:\d{4}(?P<a>[ -])\d{4}(?P=a)\d{4}(?P=a)\d{4}"
                  r"|3[47]\d{2}(?P<b>[ -])\d{6}(?P=b)\d{5}|\d{13,19})(?![\w/=-]|[.,]\d)", re.ASCII)
ISSUERS = re.compile(r"4(?:\d{12}|\d{15}|\d{18})|5[1-5]\d{14}|3[47]\d{13}|3(?:0[0-5]|[68]\d)\d{11}"
                     r"|6(?:011|5\d{2}|4[4-9]\d)\d{12}|35(?:2[89]|[3-8]\d)\d{12}"
                     r"|2(?:22[1-9]|2[3-9]\d|[3-6]\d{2}|7[01]\d|720)\d{12}")
IBAN = re.compile(r"(?<![A-Za-z0-9])(?P<country>[A-Z]{2})\d{2}(?: ?[A-Z0-9]){11,30}")
PHONE = re.compile(
    r"(?<![\w.+/$€£#=:-])(?:"
    r"\+[1-9]\d{0,2}(?:[ .-]?\(\d{1,4}\))?(?:[ .-]?\d{2,4}){2,5}"
    r"|\+[1-9]\d{9,14}"
    r"|(?:1[ .-])?(?:\([2-9]\d{2}\) ?|[2-9]\d{2}(?P<s>[ .-]))[2-9]\d{2}(?(s)(?P=s)|[ .-])\d{4}"
    r")(?!\w|[-.,/]\d| ?[%€])", re.ASCII)
# Characters of an account -> countries, from the IBAN registry (SWIFT, 2024).
COUNTRIES = {
    15: "NO",
    16: "BE",
    18: "DK FI FO GL NL",
    19: "MK SI",
    20: "AT BA EE KZ LT LU XK",
    21: "CH HR LI LV",
    22: "BG BH CR DE GB GE IE ME RS VA",
    23: "AE GI IL IQ TL",
    24: "AD CZ ES MD PK RO SA SE SK TN VG",
    25: "LY PT ST",
    26: "IS TR",
    27: "FR GR IT MC MR SM",
    28: "AL AZ BY CY DO GT HU LB PL SV",
    29: "BR EG PS QA UA",
    30: "JO KW MU",
    31: "MT SC",
    32: "LC"}
LENGTHS = {country: n for n, some in COUNTRIES.items() for country in some.split()}
NUMBERED = re.compile(r"[<>=~!]=\s?$"
                      r"|(?i:isbn|issn|doi|arxiv|pmid|rfc|oclc|order|version|\bv|build|release)"
                      r"[\s.:#-]{0,4}(?:1[03])?[\s.:#-]{0,3}$")


CUE = re.compile(r"(?i:\bip\b|ipv4|host|addr|server|client|ping|dns|//|@|\bfor=)")


class Span(NamedTuple):
    """One finding: text[start:stop] is of a kind of `FINDERS`."""

    start: int
    stop: int
    kind: str


def find_emails(text: str) -> Iterator[tuple[int, int]]:
    """Yield where e-mail addresses are; the top-level domain of a file name is no address."""
    if "@" in text:
        for m in EMAIL.finditer(text):
            if not m[0].lower().endswith((".png", ".jpg", ".jpeg", ".gif", ".svg", ".webp")):
                yield m.span()


def find_ibans(text: str) -> Iterator[tuple[int, int]]:
    """Yield where bank accounts are; words in capitals after one are not part of it."""
    for m in IBAN.finditer(text):
        length = LENGTHS.get(m["country"])
        ends = [i for i, c in enumerate(m[0]) if c != " "][:length]
        stop = m.start() + ends[-1] + 1
        if len(ends) == length and not text[stop:stop + 1].isalnum() and is_iban(
                text[m.start():stop]):
            yield m.start(), stop


def is_iban(value: str) -> bool:
    """Say whether the number of an account is 1 modulo 97, letters as 10 to 35."""
    compact = value.replace(" ", "")
    return int("".join(str(int(c, 36)) for c in compact[4:] + compact[:4])) % 97 == 1


def find_cards(text: str) -> Iterator[tuple[int, int]]:
    """Yield where payment cards are."""
    for m in CARD.finditer(text):
        digits = re.sub("[ -]", "", m[0])
        if ISSUERS.fullmatch(digits) and is_luhn(digits) and not is_numbered(
                text, m.start()):
            yield m.span()


def is_luhn(digits: str) -> bool:
    """Say whether the last digit is the check digit of the others."""
    doubled = (sum(divmod(2 * int(d), 10)) for d in digits[-2::-2])
    return (sum(doubled) + sum(map(int, digits[::-2]))) % 10 == 0


def find_addresses(text: str) -> Iterator[tuple[int, int]]:
    """Yield where public internet addresses are; private and reserved ones name nobody."""
    for pattern in (IPV4, IPV6):
        for m in pattern.finditer(text):
            try:
                public = ipaddress.ip_address(m[0]).is_global
            except ValueError:
                continue
            if public and is_address(text, m):
                yield m.span()


def is_address(text: str, found: re.Match[str]) -> bool:
    """Say whether four numbers with dots are an address rather than a version or a section.

    In web documents nine in ten such quadruples are versions, none of whose numbers has three
    digits; of addresses 2 % have none either, and count only beside a word that says address.
    """
    return not is_numbered(text, found.start()) and (
        found.re is IPV6 or re.search(r"\d{3}", found[0]) is not None
        or CUE.search(text, max(0, found.start() - 24), found.start()) is not None)


def find_phones(text: str) -> Iterator[tuple[int, int]]:
    """Yield where telephone numbers are: 8 to 15 digits after a plus, or 10 in North America."""
    for m in PHONE.finditer(text):
        digits = sum(map(str.isdigit, m[0]))
        if 8 <= digits <= 15 and not is_numbered(text, m.start()):
            yield m.span()


def is_numbered(text: str, start: int) -> bool:
    """Say whether what comes before a number calls it a version or a book."""
    return NUMBERED.search(text, max(0, start - 20), start) is not None


# In order of precedence: of two findings that overlap, the kind named first stays.
FINDERS: dict[str, Callable[[str], Iterator[tuple[int, int]]]] = {
    "secret": find_secrets, "email": find_emails, "iban": find_ibans, "card": find_cards,
    "ip": find_addresses, "phone": find_phones}
KINDS = tuple(FINDERS)
DIGITS = re.compile(r"\d(?:[^\n]{0,4}\d){3}|:[0-9A-Fa-f]{0,4}:", re.ASCII)


def find_pii(text: str, kinds: Sequence[str] = KINDS) -> list[Span]:
    """Return the findings of some kinds, in order of place, no two overlapping.

    Args:
        text: what to search; time is linear in it.
        kinds: names of `FINDERS`.
    """
    numeric = DIGITS.search(text) is not None      # most text has none of what the others seek
    taken: list[Span] = []
    for kind in (k for k in FINDERS if k in kinds and (numeric or k in ("secret", "email"))):
        for start, stop in FINDERS[kind](text):
            at = bisect.bisect_left(taken, (start,))
            if (at == 0 or taken[at - 1].stop <= start) and (
                    at == len(taken) or stop <= taken[at].start):
                taken.insert(at, Span(start, stop, kind))
    return taken


def redact(text: str, spans: Sequence[Span], replacements: Mapping[str, str]) -> str:
    """Return the text with each span exchanged for its kind's replacement.

    Args:
        text: what was searched.
        spans: as `find_pii` returns them.
        replacements: kind -> what to write in its place.
    """
    pieces, last = [], 0
    for span in spans:
        pieces += [text[last:span.start], replacements[span.kind]]
        last = span.stop
    return "".join([*pieces, text[last:]])
