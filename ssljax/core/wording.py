"""Numbers as people read them: 1.24 M, 3.4 MB, 2 min 05 s. Free of jax."""

import math

MISSING = "–"
THIN = "\N{NO-BREAK SPACE}"           # between a number and its unit


def count(x: float | None) -> str:
    """Return 950, 12,340, 1.24 M, 3.1 G: three digits that matter, exact below 100,000."""
    if x is None or not math.isfinite(x):
        return MISSING
    return f"{x:,.0f}" if abs(x) < 100_000 else scaled(x)


def size(x: float | None) -> str:
    """Return bytes with their decimal unit: 512 B, 34.0 kB, 3.40 MB."""
    if x is None or not math.isfinite(x):
        return MISSING
    return f"{x:,.0f}{THIN}B" if abs(x) < 1000 else scaled(x) + "B"


def scaled(x: float) -> str:
    """Return a number with three significant digits and a decimal prefix."""
    for limit, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        # 999,950 and more would print as 1000 of the smaller unit.
        if abs(x) >= limit * 0.9995:
            return f"{digits(x / limit)}{THIN}{prefix}"
    return digits(x)


def digits(x: float, significant: int = 3) -> str:
    """Return a number with so many significant digits, never in exponents, with its zeros."""
    if x == 0 or not math.isfinite(x):
        return "0" if x == 0 else MISSING
    places = max(0, significant - 1 - math.floor(math.log10(abs(x))))
    rounded = round(x, places)
    if rounded and math.floor(math.log10(abs(rounded))) > math.floor(math.log10(abs(x))):
        places = max(0, places - 1)
    return f"{x:,.{places}f}"


def duration(seconds: float | None) -> str:
    """Return 0.42 s, 12.3 s, 2 min 05 s, 3 h 07 min."""
    if seconds is None or not math.isfinite(seconds):
        return MISSING
    if seconds < 59.95:
        return f"{digits(seconds) if seconds < 9.995 else format(seconds, '.1f')}{THIN}s"
    whole = round(seconds)
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes}{THIN}min{THIN}{rest:02d}{THIN}s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours:,}{THIN}h{THIN}{minutes:02d}{THIN}min"


def share(part: float, whole: float) -> str:
    """Return a fraction as per cent: 4.2 %; below 0.1 % it says so."""
    if not whole:
        return MISSING
    percent = 100 * part / whole
    return f"<{THIN}0.1{THIN}%" if 0 < percent < 0.1 else f"{percent:.1f}{THIN}%"
