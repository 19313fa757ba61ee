"""What crosses the border between HTTP and the engine: plain data, no arrays."""

from typing import NamedTuple


class Sampling(NamedTuple):
    """How the next token is chosen from the logits.

    temperature: logits are divided by it; 0 takes the most probable token
    top_k:       only the k most probable tokens; 0 means all
    top_p:       only the smallest set of most probable tokens that has this mass, after top_k
    seed:        32 bits; the same seed and prompt give the same text, whatever else runs
    min_p:       only tokens with this share of the best one's probability; 0 means all
    presence:    subtracted once from the logit of a token that was generated before
    frequency:   subtracted for each time
    repetition:  logits of tokens in prompt or answer are divided by it, negative ones multiplied
    bias:        (id, value) to add to the logit of an id; each id once
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0
    min_p: float = 0.0
    presence: float = 0.0
    frequency: float = 0.0
    repetition: float = 1.0
    bias: tuple[tuple[int, float], ...] = ()


class Adapted(NamedTuple):
    """The adapter that a row has: its place in the stacks, and the hash of its numbers.

    Place 0 and no hash are of rows without one.
    """

    place: int = 0
    digest: str = ""


class Job(NamedTuple):
    """One text to generate.

    prompt:     ids, the start token first
    text:       the prompt as text, for `echo`
    max_tokens: ids to generate at most; 0 only judges the prompt
    sampling:   how
    stop:       strings that end the text; they are not part of it
    logprobs:   alternatives to report for each token, 0 to 20; None reports nothing
    echo:       whether the answer starts with the prompt
    stop_ids:   tokens that end the text besides the end token; they are not part of it
    ignore_eos: whether the end token ends nothing
    grammar:    what the text must be, as `structured.grammar_of` returns it; None for anything
    caller:     whose request it is, for fair shares; all without a name are one
    deadline:   time.monotonic() after which it is not worth starting; None for never
    adapter:    which changes the model for it
    """

    prompt: tuple[int, ...]
    text: str
    max_tokens: int
    sampling: Sampling
    stop: tuple[str, ...] = ()
    logprobs: int | None = None
    echo: bool = False
    stop_ids: tuple[int, ...] = ()
    ignore_eos: bool = False
    grammar: str | None = None
    caller: str = ""
    deadline: float | None = None
    adapter: Adapted = Adapted()


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
    status:  HTTP status that goes with the error
    code:    a word for programs that goes with it, or None
    token:   the one that was generated with this piece; None where none was
    """

    text: str = ""
    scored: tuple[tuple[int, Scored], ...] = ()
    tokens: int = 0
    finish: str | None = None
    error: str | None = None
    status: int = 500
    code: str | None = None
    token: int | None = None
