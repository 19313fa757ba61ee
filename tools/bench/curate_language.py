"""Language identification: accuracy and texts per CPU-second, beside each of its two models alone.

    python tools/bench/curate_language.py LOCALE_FOLDER [--json FILE]

Reads compiled catalogues <folder>/**/<code>/LC_MESSAGES/*.mo, such as those inside Django's wheel
(`pip download --no-deps django`): messages that people translated, of 40 characters or more, their
placeholders taken out. Short, and full of English product names: harder than pages.
"""

import argparse
import gettext
import os
import platform
import re
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from statistics import mean

import rounds

from data_pipelines.kernels import language

MAIN = ["ar", "bg", "cs", "da", "de", "el", "en", "es", "fa", "fi", "fr", "he", "hu", "id", "it",
        "ja", "ko", "nl", "pl", "pt", "ro", "ru", "sv", "tr", "uk", "vi", "zh"]
SHORTEST = 40             # characters; scripts without spaces need a third of that


def main() -> None:
    """Parse arguments, run the vote and each model, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("--json")
    args = parser.parse_args()
    texts = load(Path(args.folder))
    methods: dict[str, Callable[[str], str]] = {
        "vote": lambda text: language.identify(text).code,
        "pycld2": lambda text: language.by_tables(text)[1].code,
        "lid.176.ftz": lambda text: language.by_model(" ".join(text.split())).code}
    found = {name: run(method, texts) for name, method in methods.items()}
    groups = {f"{len(part)} main languages": part
              for part in [[code for code in MAIN if code in texts]]}
    groups[f"all {len(texts)} languages"] = sorted(texts)
    rows = []
    for peer in ("pycld2", "lid.176.ftz"):
        for case, codes in groups.items():
            ours, other = (mean(found[m][0][code] for code in codes) for m in ("vote", peer))
            rows.append(rounds.row(case, "accuracy, mean of languages", "share", ours, other, peer))
        rows.append(rounds.row("all", "speed", "texts/CPU-s", found["vote"][1], found[peer][1],
                               peer))
    rounds.show(rows)
    worst = sorted((found["vote"][0][code], code) for code in texts)[:12]
    print("lowest:", ", ".join(f"{code} {share:.2f}" for share, code in worst))
    rounds.write(args.json, "curate_language",
                 {"cpu": platform.processor(), "cores": os.cpu_count()}, rows)


def load(folder: Path) -> dict[str, list[str]]:
    """Return code -> messages, of languages with ten or more."""
    texts: dict[str, set[str]] = defaultdict(set)
    for path in sorted(folder.rglob("*.mo")):
        code = path.parts[-3].replace("_", "-").split("-")[0]
        with path.open("rb") as file:
            catalogue = gettext.GNUTranslations(file)._catalog
        for key, message in catalogue.items():
            source = key[0] if isinstance(key, tuple) else key
            text = re.sub(r"%\(\w+\)[sd]|%[sd]|\{\w*\}|<[^>]+>|https?://\S+", " ", message)
            short = SHORTEST // 3 if code in ("zh", "ja", "ko", "th") else SHORTEST
            if source and message != source and len(text) >= short:
                texts[language.SAME.get(code, code)].add(text)
                texts["en"].update([source] if len(source) >= SHORTEST else [])
    return {code: sorted(found) for code, found in texts.items() if len(found) >= 10}


def run(method: Callable[[str], str], texts: dict[str, list[str]]) -> tuple[dict, float]:
    """Return the share of right answers of each language, and texts a CPU-second."""
    method("Load the tables before the clock starts.")
    began = time.process_time()
    answers = {code: [method(text) for text in found] for code, found in texts.items()}
    seconds = time.process_time() - began
    right = {code: mean(a == code for a in found) for code, found in answers.items()}
    return right, sum(map(len, texts.values())) / seconds


if __name__ == "__main__":
    main()
