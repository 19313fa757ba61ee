"""Checks of single fields of a request: (name, value) -> the value, or a RequestError.

Each message has the field, the value seen and what is accepted.
"""

import json
from collections.abc import Callable
from typing import Any

from ssljax.core.errors import RequestError

Check = Callable[[str, Any], Any]


def number(low: float, high: float) -> Check:
    """Return a check for a number from low to high."""
    def check(name: str, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise wrong(name, value, f"a number from {low:g} to {high:g}")
        if not low <= value <= high:
            raise wrong(name, value, f"from {low:g} to {high:g}")
        return float(value)

    return check


def integer(low: int, high: int | None = None) -> Check:
    """Return a check for a whole number from low to high."""
    expected = f"at least {low}" if high is None else f"from {low} to {high}"

    def check(name: str, value: Any) -> int:
        if type(value) is not int:
            raise wrong(name, value, f"a whole number, {expected}")
        if value < low or (high is not None and value > high):
            raise wrong(name, value, expected)
        return value

    return check


def boolean(name: str, value: Any) -> bool:
    """Check true or false."""
    if not isinstance(value, bool):
        raise wrong(name, value, "true or false")
    return value


def text(name: str, value: Any) -> str:
    """Check a string that is Unicode text; JSON can spell halves of characters, which are none."""
    if not isinstance(value, str):
        raise wrong(name, value, "a string")
    try:
        value.encode()
    except UnicodeEncodeError as err:
        raise wrong(name, value, f"Unicode text (character {err.start} is half of a pair)") from err
    return value


def some(item: Check, most: int) -> Check:
    """Return a check for one value or a list of a few, each passing `item`; gives a tuple."""
    def check(name: str, value: Any) -> tuple[Any, ...]:
        values = value if isinstance(value, list) else [value]
        if len(values) > most:
            raise wrong(name, value, f"at most {most} values")
        return tuple(item(name, one) for one in values)

    return check


def some_text(name: str, value: Any) -> str:
    """Check a string that is not empty."""
    if not text(name, value):
        raise wrong(name, value, "a string that is not empty")
    return value


def object_of(known: dict[str, Check]) -> Check:
    """Return a check for an object with some of the `known` fields."""
    def check(name: str, value: Any) -> dict[str, Any]:
        if not isinstance(value, dict) or not set(value) <= set(known):
            names = ", ".join(f'"{key}"' for key in known)
            raise wrong(name, value, f"an object with {names}")
        return {key: known[key](f"{name}.{key}", item) for key, item in value.items()}

    return check


def one_of(*known: str) -> Check:
    """Return a check for one of a few words."""
    def check(name: str, value: Any) -> str:
        if value not in known:
            raise wrong(name, value, " or ".join(f'"{word}"' for word in known))
        return value

    return check


def anything(name: str, value: Any) -> Any:
    """Take any JSON: what it may be depends on the model."""
    return value


def only(neutral: Any) -> Check:
    """Return a check of a field that is not offered: only the value without effect is accepted."""
    def check(name: str, value: Any) -> Any:
        if value != neutral:
            raise wrong(name, value, f"{json.dumps(neutral)}: this server does not offer {name}")
        return value

    return check


def wrong(name: str, value: Any, expected: str) -> RequestError:
    """Return the error of a field with a bad value."""
    return RequestError(f"{name} is {show(value)}; expected {expected}.", param=name)


def show(value: Any) -> str:
    """Return a value as JSON in ASCII, cut to a length that fits a message."""
    try:
        shown = json.dumps(value)
    except RecursionError:               # read a few calls further up, where there was just room
        return "nested too deep to show"
    return shown if len(shown) <= 80 else f"{shown[:77]}..."


def spelt_out(message: str) -> str:
    """Return a message with halves of characters as JSON spells them: no answer can carry those."""
    return message.encode("utf-8", "backslashreplace").decode()


def kind(value: Any) -> str:
    """Return what JSON calls a value's type."""
    names = {dict: "an object", list: "an array", str: "a string", bool: "a boolean",
             type(None): "null"}
    return names.get(type(value), "a number")
