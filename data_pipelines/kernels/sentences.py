"""Sentences of a line as spaCy's Sentencizer counts them, from pieces kept for each chunk.

Its rule (https://spacy.io/api/sentencizer): after a word that ends a sentence, the next word that
is no punctuation begins another. A chunk moves a counter the same way wherever it stands, so spaCy
reads each once. Reads a line, returns a number.
"""

import re

from data_pipelines.kernels.lexicon import FULL
from data_pipelines.kernels.word_splits import END, INNER, Piece, spacy_pieces

# Runs of white space that spaCy makes a token of: a single space between words is none.
WIDE = re.compile(r"[^\S ]\s*$|\s{2,}$")

Move = tuple[tuple[int, bool], tuple[int, bool]]


class SentenceCounter:
    """A cache of chunks and what they add; the owner keeps one for many lines."""

    def __init__(self, full: int = FULL):
        """Start empty; `full` is the number of chunks from which it starts anew."""
        self._moves: dict[str, Move] = {}
        self._full = full

    def __call__(self, line: str) -> int:
        """Return the sentences of a line, at least 1."""
        chunks = line.split()
        new = list(dict.fromkeys(chunk for chunk in chunks if chunk not in self._moves))
        if new:
            if len(self._moves) + len(new) > self._full:
                self._moves, new = {}, list(dict.fromkeys(chunks))
            self._moves.update(zip(new, map(move, spacy_pieces(new)), strict=True))
        count, ended = 1, False
        for chunk in chunks:
            added, ended = self._moves[chunk][ended]
            count += added
        # White space at the end is a token and no punctuation.
        return count + (ended and WIDE.search(line) is not None)


def move(piece: Piece) -> Move:
    """Return what a chunk adds and whether an end is open behind it, by whether one was before."""
    found = []
    for ended in (False, True):
        count = 0
        for role in piece.roles:
            if role == END:
                ended = True
            elif ended and role == INNER:
                count, ended = count + 1, False
        found.append((count, ended))
    return found[0], found[1]
