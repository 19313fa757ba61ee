"""Personal data: each kind is found where its own check agrees, and decoys are left alone."""

import json
import random
import re
import string
from collections import Counter
from pathlib import Path

import pytest

from data_pipelines.kernels.pii import KINDS, LENGTHS, find_pii, is_iban, is_luhn, redact
from data_pipelines.kernels.secrets import entropy

DATA = Path(__file__).parents[4] / "shared/data/web/pii_passages.jsonl"
FOUND = [
    ("email", "To jane.o'neil+news@mail.example.co.uk.", "jane.o'neil+news@mail.example.co.uk"),
    ("phone", "call 1-888-595-5485 now", "1-888-595-5485"),
    ("phone", "Tel.: (415) 555-2671", "(415) 555-2671"),
    ("phone", "ring +49 30 901820.", "+49 30 901820"),
    ("phone", "on +14155552671,", "+14155552671"),
    ("ip", "host 8.8.4.4.", "8.8.4.4"),
    ("ip", "host 2001:4860:4860::8888 answers", "2001:4860:4860::8888"),
    ("card", "card 4111 1111 1111 1111, 12/29", "4111 1111 1111 1111"),
    ("card", "Amex 3782 822463 10005", "3782 822463 10005"),
    ("card", "5555555555554444", "5555555555554444"),
    ("iban", "IBAN DE89 3704 0044 0532 0130 00 BIC COBADEFF", "DE89 3704 0044 0532 0130 00"),
    ("iban", "GB82WEST12345698765432", "GB82WEST12345698765432"),
    ("secret", "key AKIAIOSFODNN7EXAMPLE", "AKIAIOSFODNN7EXAMPLE"),
    ("secret", 'api_key = "9f8a7b6c5d4e3f2a1b0c9d8e7"', "9f8a7b6c5d4e3f2a1b0c9d8e7"),
    ("secret", "password: hT5kQ2mZx9Lw4Rb7", "hT5kQ2mZx9Lw4Rb7"),
]
DECOYS = [
    "@property def f(self): return x@y", "logo@2x.png", "on 2021-05-13 at 10:15",
    "2023-01-01 15:30",
    "192.168.1.10 and 10.0.0.1 and 127.0.0.1", "version 8.8.4.4 of", "1.2.3.4.5", "at 12:30:45",
    "std::vector and dead::beef", "4111 1111 1111 1112", "0000000000000000",
    "ISBN 978-0-306-40615-7", "Linux 2.6.8.1 and cudnn==9.5.1.17", "2.2.1.2. Unix platforms",
    "isbn: 4539148803436467", "DE89 3704 0044 0532 0130 01", "ZZ89370400440532013000",
    "3.14159265358979323846", "x (>=13.107.4.3)", "$212-555",
    "token = get_authentication_token_from_request",
    "password: correcthorsebattery", "ghp_" + "x" * 36, "100,000,000 of 555-1234",
    "pp. 212-555-12345",
    "key = value_of_the_configuration_key2",
    "secret: aaaaaaaaaaaaaaa1", "a +12 345 b",
]


@pytest.mark.parametrize("kind, text, value", FOUND)
def test_each_kind_is_found_whole(kind, text, value):
    assert [(s.kind, text[s.start:s.stop]) for s in find_pii(text)] == [(kind, value)]


@pytest.mark.parametrize("text", DECOYS)
def test_what_only_looks_like_it_is_left_alone(text):
    assert find_pii(text) == []


def test_a_private_key_is_one_secret():
    body = "\n".join("MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSj" for _ in range(5))
    text = f"a\n-----BEGIN RSA PRIVATE KEY-----\n{body}\n-----END RSA PRIVATE KEY-----\nb"
    assert redact(text, find_pii(text), {"secret": "<SECRET>"}) == "a\n<SECRET>\nb"


def test_one_wrong_digit_is_never_a_card_or_an_account():
    # Both checks catch every single substitution (ISO/IEC 7812-1, ISO 7064).
    for value, check in (("4539148803436467", is_luhn), ("GB82WEST12345698765432", is_iban)):
        assert check(value)
        for at in [i for i, c in enumerate(value) if c.isdigit()]:
            for digit in set(string.digits) - {value[at]}:
                assert not check(value[:at] + digit + value[at + 1:])


def test_redacting_changes_spans_and_nothing_else():
    text = "A a@b.org B 98.138.8.8 C +1 212 555 0187 D"
    spans = find_pii(text)
    assert [s.kind for s in spans] == ["email", "ip", "phone"]
    assert redact(text, spans, {k: f"<{k}>" for k in KINDS}) == "A <email> B <ip> C <phone> D"
    assert redact(text, spans, {k: text[s.start:s.stop] for s in spans
                                for k in [s.kind]}) == text


def test_entropy_is_that_of_a_uniform_alphabet():
    assert entropy("abcdefgh") == pytest.approx(3) and entropy("aaaa") == 0


@pytest.mark.parametrize("text", ["1 " * 50_000, "+1" * 50_000, "a@" * 50_000, "a.b@c-" * 20_000,
                                  "AB12 " * 20_000, "2:" * 50_000, "token=" * 20_000,
                                  "-----BEGIN PRIVATE KEY-----" + "A" * 100_000])
def test_no_text_takes_long(text):
    # A quadratic search of 100 kB would take minutes; the test's own time limit is the proof.
    assert len(find_pii(text)) < 10


def planted(draw: random.Random) -> dict[str, str]:
    """Return a made-up valid value of each kind."""
    def digits(n: int) -> str:
        return "".join(draw.choices(string.digits, k=n))

    card = "4" + digits(14)
    card += next(d for d in string.digits if is_luhn(card + d))
    country = draw.choice(sorted(LENGTHS))
    body = digits(LENGTHS[country] - 4)
    check = next(f"{i:02d}" for i in range(2, 99) if is_iban(f"{country}{i:02d}{body}"))
    account = f"{country}{check}{body}"
    spaced = " ".join(account[i:i + 4] for i in range(0, len(account), 4))
    exchange = f"{draw.randint(200, 999)}{draw.choice(' -.')}"
    return {
        "email": f"{''.join(draw.choices(string.ascii_lowercase, k=6))}.{digits(2)}@"
                 f"{draw.choice(['mail.example.org', 'uni-x.de', 'a.io'])}",
        "phone": draw.choice([f"+44 20 {digits(4)} {digits(4)}", f"+1{draw.randint(200, 999)}"
                              f"{digits(7)}", f"({draw.randint(200, 999)}) {exchange}{digits(4)}"]),
        "ip": f"{draw.randint(130, 168)}.{draw.randint(0, 255)}.{draw.randint(0, 255)}.1",
        "card": draw.choice([card, "-".join(card[i:i + 4] for i in range(0, 16, 4))]),
        "iban": draw.choice([account, spaced]),
        "secret": "ghp_" + "".join(draw.choices(string.ascii_letters, k=36))
        if draw.random() < .5 else "AKIA" + "".join(draw.choices("ABCDEFGHJKMNPQ234567", k=16))}


@pytest.mark.skipif(not DATA.exists(), reason="needs the shared PII passages")
def test_recall_and_precision_in_real_passages():
    passages = [re.search(r"'''\n(.*?)\n?'''", json.loads(line)["query"], re.S)[1]
                for line in DATA.read_text().splitlines()]
    # Read by hand: these passages hold seven addresses, two telephone numbers, and no more.
    plain = [(s.kind, p[s.start:s.stop]) for p in passages for s in find_pii(p)]
    assert sorted(k for k, _ in plain) == ["email"] * 7 + ["phone"] * 2
    draw = random.Random(0)
    hits, others, total = Counter(), Counter(), Counter()
    for passage in passages:
        words = passage.split(" ")
        kind, value = draw.choice(sorted(planted(draw).items()))
        at = draw.randint(1, len(words))
        text = " ".join([*words[:at], value, *words[at:]])
        found = {(s.kind, text[s.start:s.stop]) for s in find_pii(text)}
        total[kind] += 1
        hits[kind] += (kind, value) in found
        others.update(k for k, v in found - {(kind, value)} - set(plain))
    recall = {k: hits[k] / total[k] for k in KINDS}
    assert recall == pytest.approx(dict.fromkeys(KINDS, 1), abs=.01)
    assert sum(others.values()) <= 0.002 * len(passages), others
