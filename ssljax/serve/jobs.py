"""What crosses the border between HTTP and the engine: plain data, no arrays."""

from typing import NamedTuple


class Sampling(NamedTuple):
    """How the next token is chosen from the logits.

    temperature: logits are divided by it; 0 takes the most probable token
    top_k:       only the k most probable tokens; 0 means all
    top_p:       only the smallest set of most probable tokens that has this mass, after top_k
    seed:        32 bits; the same seed and prompt give the same text, whatever else runs
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0


class Job(NamedTuple):
    """One text to generate.

    prompt:     ids, the start token first
    text:       the prompt as text, for `echo`
    max_tokens: ids to generate at most; 0 only judges the prompt
    sampling:   how
    stop:       strings that end the text; they are not part of it
    logprobs:   alternatives to report for each token, 0 to 5; None reports nothing
    echo:       whether the answer starts with the prompt
    """

    prompt: tuple[int, ...]
    text: str
    max_tokens: int
    sampling: Sampling
    stop: tuple[str, ...] = ()
    logprobs: int | None = None
    echo: bool = False


class Scored(NamedTuple):
    """A token and how probable the model held it: natural logarithms, at temperature 1."""

    token: int
    logprob: float
    top: tuple[tuple[int, float], ...]     # the most probable tokens, best first


class Piece(NamedTuple):
    """The next part of an answer.

    text:    may be empty while characters or stop strings are incomplete
    scored:  tokens whose text is now out, with the character where each starts; when asked for
    tokens:  ids generated so far
    finish:  "stop", "length", or None while more is to come
    error:   why the answer ends here unfinished; None otherwise
    """

    text: str = ""
    scored: tuple[tuple[int, Scored], ...] = ()
    tokens: int = 0
    finish: str | None = None
    error: str | None = None
