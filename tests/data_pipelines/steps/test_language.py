"""The language step: columns, allowed sets, scores; and the vote behind it."""

import pytest

from data_pipelines.kernels.language import UNKNOWN, identify
from data_pipelines.steps import language

# Article 1 of the Universal Declaration of Human Rights, public domain.
ARTICLE_1 = {
    "en": "All human beings are born free and equal in dignity and rights.",
    "de": "Alle Menschen sind frei und gleich an Würde und Rechten geboren.",
    "fr": "Tous les êtres humains naissent libres et égaux en dignité et en droits.",
    "es": "Todos los seres humanos nacen libres e iguales en dignidad y derechos.",
    "it": "Tutti gli esseri umani nascono liberi ed eguali in dignità e diritti.",
    "pt": "Todos os seres humanos nascem livres e iguais em dignidade e em direitos.",
    "nl": "Alle mensen worden vrij en gelijk in waardigheid en rechten geboren.",
    "sv": "Alla människor är födda fria och lika i värde och rättigheter.",
    "pl": "Wszyscy ludzie rodzą się wolni i równi pod względem swej godności i swych praw.",
    "ru": "Все люди рождаются свободными и равными в своем достоинстве и правах.",
    "zh": "人人生而自由，在尊严和权利上一律平等。",
    "ja": "すべての人間は、生まれながらにして自由であり、かつ、尊厳と権利とについて平等である。",
    "ko": "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다.",
    "ar": "يولد جميع الناس أحرارا متساوين في الكرامة والحقوق.",
    "tr": "Bütün insanlar hür, haysiyet ve haklar bakımından eşit doğarlar."}


@pytest.mark.parametrize("code", ARTICLE_1)
def test_main_languages_are_named(code):
    found = identify(ARTICLE_1[code])
    assert found.code == code
    assert 0.5 < found.score <= 1


def test_more_than_the_first_80_characters_are_read():
    assert identify("Click here. OK. " * 5 + ARTICLE_1["de"] * 5).code == "de"


@pytest.mark.parametrize("text", ["", "  \n", "\x00\x01", "\ud800"])
def test_what_has_no_language_is_no_error(text):
    assert identify(text).score < 0.5


def test_columns_are_added_and_disallowed_languages_drop(table):
    found = language.make(allowed=["en", "de"])(table([ARTICLE_1["en"], ARTICLE_1["fr"], ""]))
    assert found["language"].to_pylist() == ["en", "fr", UNKNOWN]
    assert found["dropped"].to_pylist() == [None, "language", "language"]
    assert found["detail"].to_pylist()[1].startswith("fr ")
    again = language.make()(found)
    assert again["language"].to_pylist() == ["en", None, None]
    assert again.column_names.count("language") == 1


def test_a_low_score_drops_and_no_allowed_set_keeps_everything(table):
    texts = table([ARTICLE_1["en"]])
    assert language.make(allowed=["en"], min_score=1.1)(texts)["dropped"][0].as_py() == (
        "language_unsure")
    assert language.make(min_score=1.1)(texts)["dropped"][0].as_py() is None
