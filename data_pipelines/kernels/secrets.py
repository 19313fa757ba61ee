"""Keys, tokens and passwords in text: by the prefixes their issuers give them, or by entropy.

Prefixes are documented by the issuers and collected by detect-secrets
(https://github.com/Yelp/detect-secrets) and GitHub's secret scanning
(https://docs.github.com/en/code-security/secret-scanning). A value with no prefix is a secret only
where a word such as `password` is assigned to it and its characters look random. Reads a string,
returns the (start, stop) of each secret.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator

ISSUED = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    r"(?:AKIA|ASIA|AGPA|AIDA|AROA)[A-Z2-7]{16}"                    # Amazon
    r"|gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9_]{60,255}"
    r"|glpat-[A-Za-z0-9_-]{20,64}"                                 # GitLab
    r"|xox[abeoprs]-[A-Za-z0-9-]{20,255}"                          # Slack
    r"|(?:sk|rk)_(?:live|test)_[A-Za-z0-9]{16,128}"                # Stripe
    r"|AIza[A-Za-z0-9_-]{35}|ya29\.[A-Za-z0-9_-]{20,255}"          # Google
    r"|sk-(?:proj-|ant-|or-)?[A-Za-z0-9_-]{32,255}"                # OpenAI and its kin
    r"|hf_[A-Za-z]{34}|npm_[A-Za-z0-9]{36}|pypi-[A-Za-z0-9_-]{50,255}"
    r"|SG\.[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{16,64}"             # SendGrid
    r"|dop_v1_[a-f0-9]{64}|shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}"     # DigitalOcean, Shopify
    r"|eyJ[A-Za-z0-9_-]{8,1024}\.eyJ[A-Za-z0-9_-]{8,4096}\.[A-Za-z0-9_-]{16,1024}"  # JSON Web Token
    r")(?![A-Za-z0-9])")
PRIVATE_KEY = re.compile(
    r"-----BEGIN (?:[A-Z]{2,10} )?PRIVATE KEY(?: BLOCK)?-----[A-Za-z0-9+/=:,.\s-]{20,8192}?"
    r"-----END (?:[A-Z]{2,10} )?PRIVATE KEY(?: BLOCK)?-----")
ASSIGNED = re.compile(
    r"(?i:api[_-]?key|secret(?:[_-]?key)?"
    r"|access[_-]?(?:key|token)|token|passw(?:or)?d"
    r"|client[_-]?secret)[\"']?"
    r"\s{0,3}(?:=>|:=|[:=])\s{0,3}[\"']?"
    r"(?P<value>[A-Za-z0-9+/_=.~!@#$%^&*-]{12,256})")
PLAIN = re.compile(r"[A-Za-z0-9+/_=~-]+")
# Where a text has none of these, the slow searches can be left out.
HINTS = ("key", "secret", "token", "passw")
MARKS = ("AKIA", "ASIA", "AGPA", "AIDA", "AROA", "gh", "github_pat_", "glpat-", "xox", "sk", "rk_",
         "AIza", "ya29.", "hf_", "npm_", "pypi-", "SG.", "dop_v1_", "shp", "eyJ")


def find_secrets(text: str) -> Iterator[tuple[int, int]]:
    """Yield where secrets are, possibly overlapping."""
    if any(mark in text for mark in MARKS):
        yield from (m.span() for m in ISSUED.finditer(text) if is_mixed(m[0]))
    if "PRIVATE KEY" in text:
        yield from (m.span() for m in PRIVATE_KEY.finditer(text))
    lowered = text.lower()
    if any(hint in lowered for hint in HINTS):
        yield from (m.span("value") for m in ASSIGNED.finditer(text) if is_random(m["value"]))


def is_mixed(value: str) -> bool:
    """Say whether a token is more than a placeholder such as ghp_xxxx or AKIAAAAAAAAAAAAAAAAA."""
    return entropy(value) >= 3.0


def is_random(value: str) -> bool:
    """Say whether an assigned value looks drawn rather than written.

    Names in code have long runs of letters; 16 random characters of base64 reach about 3.6 bits
    each, of hexadecimal 3.2. Digits beside letters are asked for, since prose has neither.
    """
    if not PLAIN.fullmatch(value) or not re.search(r"[0-9]", value):
        return False
    if re.fullmatch(r"[0-9a-fA-F-]+", value):
        return len(value) >= 16 and bool(re.search("[a-fA-F]", value)) and entropy(value) >= 2.8
    words = re.findall(r"[A-Z]?[a-z]{4,}|[A-Z]{5,}", value)
    return entropy(value) >= 3.3 and sum(map(len, words)) < len(value) / 2


def entropy(value: str) -> float:
    """Return the Shannon entropy of a string's characters, in bits a character."""
    counts = Counter(value).values()
    return -sum(n / len(value) * math.log2(n / len(value)) for n in counts)
