"""Which calls are for the comparison page, and not for the server beneath it."""

from starlette.types import Scope


def is_page(scope: Scope) -> bool:
    """Say whether a call is for / or for what is below /arena/."""
    path = scope.get("path", "")
    return scope["type"] == "http" and (path == "/" or path.startswith("/arena/"))
