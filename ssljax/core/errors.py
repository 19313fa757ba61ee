"""Failures a user can act on: what was wrong, the value seen, what was expected, how to fix it."""

import contextlib
import difflib
from collections.abc import Iterable, Iterator
from typing import Any


class SsljaxError(Exception):
    """A failure with a message for the user; the command line prints it, exits `exit_code`."""

    exit_code = 1

    def __reduce__(self) -> tuple[Any, ...]:
        """Cross processes whole, whatever arguments a kind of error takes."""
        return restore, (type(self), self.args, self.__dict__)


def restore(kind: type[SsljaxError], args: tuple[Any, ...], fields: dict[str, Any]) -> SsljaxError:
    """Return an error as it was in the process that raised it."""
    error = kind.__new__(kind, *args)
    error.__dict__.update(fields)
    return error


class ConfigError(SsljaxError, ValueError):
    """A run's config names something that does not exist or cannot work."""

    exit_code = 2


class DataError(SsljaxError):
    """Input data is missing, unreadable or not what its manifest says."""


class UnreadableRecordError(DataError):
    """One record is damaged; the others may be sound. The stream draws another in its place.

    reason: one word for the counts of what was skipped, such as "truncated".
    """

    def __init__(self, message: str, reason: str = "damaged"):
        super().__init__(message)
        self.reason = reason


class CheckpointError(SsljaxError):
    """A checkpoint is missing, damaged, or belongs to another run."""


class ArtefactError(SsljaxError):
    """An exported artefact is missing, damaged or not servable here."""


class ServeError(SsljaxError):
    """The server cannot start as asked."""


class RequestError(SsljaxError):
    """A request that cannot be answered as asked.

    status: of the HTTP answer
    param:  the field at fault, or None
    code:   a word for programs, as OpenAI's interface has them
    retry_after: seconds after which it is worth trying again, for the header; None: not at all
    """

    def __init__(self, message: str, *, status: int = 400, param: str | None = None,
                 code: str | None = None, retry_after: float | None = None):
        super().__init__(message)
        self.status, self.param, self.code, self.retry_after = status, param, code, retry_after


class MissingExtraError(SsljaxError, ImportError):
    """An optional dependency is needed and absent."""

    def __init__(self, package: str, extra: str):
        super().__init__(f"{package} is not installed; run: pip install 'ssljax[{extra}]'")


@contextlib.contextmanager
def needed(package: str, extra: str) -> Iterator[None]:
    """Raise our error where an import inside fails, naming the extra to install.

    Args:
        package: what is missing if an import fails.
        extra: of ours that installs it.

    Raises:
        MissingExtraError: an import failed.
    """
    try:
        yield
    except ImportError as err:
        raise MissingExtraError(package, extra) from err


class Interrupted(SsljaxError):
    """The run was asked to stop, saved, and can be continued; not a failure of the run.

    Exit code 75 (EX_TEMPFAIL of sysexits.h) after SIGTERM tells a launcher to restart;
    130 after Ctrl-C is the shell's convention.
    """

    def __init__(self, message: str, exit_code: int):
        super().__init__(message)
        self.exit_code = exit_code


def nearest(name: str, known: Iterable[str]) -> str:
    """Say which of `known` the reader may have meant: 'did you mean "lr"?', or list them all."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1)
    return f'did you mean "{close[0]}"?' if close else f"known: {', '.join(known) or 'none'}."
