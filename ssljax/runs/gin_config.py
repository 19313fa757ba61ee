"""gin files and bindings as overrides of a config: one tree, two spellings.

    --gin FILE                     bindings, macros and includes in gin's syntax
    --gin.optim.lr=1e-3            one binding

`optim.lr = 1e-3` in gin is `--config.optim.lr=1e-3`: the same keys, types and messages, and the
same resolved config in the run. Text is read by gin-config's own parser
(https://github.com/google/gin-config) and by nothing else of it: nothing is imported or called, so
that `import`, `@configurables` and scopes are errors. A name without a dot that is no key of the
config is a macro; macros are looked up after everything is read, and the last definition wins, as
in gin. Free of jax.
"""

import importlib
import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ssljax.core.errors import ConfigError, nearest, needed

FILE, BINDING = "--gin=", "--gin."       # what an argument of the command line begins with
OPEN = "mesh."          # every axis is in every mesh, whether the experiment mentions it or not


class Macro(NamedTuple):
    """A `%name` that stands for a value."""

    name: str


class Binding(NamedTuple):
    """`name = value`, and where it was read."""

    name: str
    value: Any
    where: str


class Delegate:
    """What gin's parser makes of references: macros, and an error for everything that would run."""

    def configurable_reference(self, scoped_name: str, evaluate: bool) -> None:
        """Refuse @name and @name()."""
        raise ConfigError(f"@{scoped_name}{'()' if evaluate else ''} is a reference to code, which "
                          "gin files of ssljax cannot hold; a plug-in is chosen by its name, as in "
                          'optim.name = "adamw".')

    def macro(self, scoped_name: str) -> Macro:
        """Return %name, to be looked up when everything is read."""
        return Macro(scoped_name)


def is_gin(override: str) -> bool:
    """Say whether an argument of the command line is gin's."""
    return override.startswith((FILE, BINDING))


def translate(overrides: Sequence[str], keys: Callable[[], Iterable[str]]) -> list[str]:
    """Return overrides in which "--gin=FILE" and "--gin.KEY=VALUE" are "--config.KEY=VALUE".

    Args:
        overrides: in the order of the command line; later ones win.
        keys: returns the dotted names of all values that the config may have.

    Raises:
        ConfigError: a file is missing, its syntax is wrong, or it names no key of the config.
        MissingExtraError: gin-config is not installed.
    """
    if not any(map(is_gin, overrides)):
        return list(overrides)
    known = set(keys())
    parts = [list(read(o, ())) if is_gin(o) else o for o in overrides]
    bindings = [b for part in parts if not isinstance(part, str) for b in part]
    # Any binding can be named by %, a key of the config too.
    macros = {b.name: b.value for b in bindings}
    check_names(bindings, known)
    return [flag for part in parts for flag in (
        [part] if isinstance(part, str) else
        [as_flag(b, macros) for b in part if is_key(b.name, known)])]


def is_key(name: str, known: set[str]) -> bool:
    """Say whether a config may have a value of this name."""
    return name in known or name.startswith(OPEN)


def read(override: str, including: tuple[pathlib.Path, ...]) -> Iterator[Binding]:
    """Yield the bindings of "--gin=FILE" or "--gin.KEY=VALUE"."""
    if override.startswith(FILE):
        yield from read_file(pathlib.Path(override.removeprefix(FILE)), including)
    elif "=" not in override:
        raise ConfigError(f"{override} has no value; write {override}=VALUE.")
    else:
        yield from parse(override.removeprefix(BINDING), override, including)


def read_file(path: pathlib.Path, including: tuple[pathlib.Path, ...]) -> Iterator[Binding]:
    """Yield the bindings of a file and of those it includes, in their order."""
    if path.resolve() in including:
        raise ConfigError(f"gin file {path} includes itself.")
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as err:
        neighbours = map(str, path.parent.glob("*.gin")) if path.parent.is_dir() else ()
        raise ConfigError(f"No gin file {path} that can be read ({err}); "
                          f"{nearest(str(path), neighbours)}") from err
    yield from parse(text, str(path), (*including, path.resolve()))


def parse(text: str, where: str, including: tuple[pathlib.Path, ...]) -> Iterator[Binding]:
    """Yield the bindings of gin's text, read by gin's parser."""
    with needed("gin-config", "gin"):
        gin = importlib.import_module("gin.config_parser")
    try:
        # A last line without an end is no statement to Python's tokenizer.
        for statement in gin.ConfigParser(f"{text}\n", Delegate()):
            line = f"{where} line {statement.location.line_num}"
            if isinstance(statement, gin.IncludeStatement):
                yield from read_file(included(statement.filename, including), including)
            elif isinstance(statement, gin.ImportStatement):
                raise ConfigError(f"{line}: `{statement.format()}`; gin files of ssljax cannot "
                                  "import, as their configs are data. Remove the line.")
            elif statement.scope:
                raise ConfigError(f'{line}: scope "{statement.scope}"; a config has keys and no '
                                  "scopes. Write the key alone.")
            elif isinstance(statement, gin.BindingStatement):
                name = ".".join(filter(None, (statement.selector, statement.arg_name)))
                yield Binding(name, statement.value, line)
    except SyntaxError as err:
        raise ConfigError(f"{where}: {err.args[0] if err.args else err}; gin's syntax is "
                          'optim.lr = 1e-3, with quotes around words: optim.name = "adamw".'
                          ) from err


def included(name: str, including: tuple[pathlib.Path, ...]) -> pathlib.Path:
    """Return an included file: beside the file that includes it, or from the working folder."""
    beside = including[-1].parent / name if including else pathlib.Path(name)
    return beside if beside.is_file() else pathlib.Path(name)


def check_names(bindings: Sequence[Binding], known: set[str]) -> None:
    """Raise ConfigError for a binding that is neither a key of the config nor a macro in use."""
    used = {macro.name for b in bindings for macro in macros_in(b.value)}
    for b in bindings:
        if not is_key(b.name, known) and ("." in b.name or b.name not in used):
            raise ConfigError(f'{b.where}: config has no "{b.name}"; {nearest(b.name, known)}')


def macros_in(value: Any) -> Iterator[Macro]:
    """Yield the macros inside a value."""
    if isinstance(value, Macro):
        yield value
    elif isinstance(value, Mapping):
        yield from (m for pair in value.items() for v in pair for m in macros_in(v))
    elif isinstance(value, list | tuple):
        yield from (m for v in value for m in macros_in(v))


def look_up(value: Any, macros: Mapping[str, Any], where: str, seen: tuple[str, ...] = ()) -> Any:
    """Return a value with its macros replaced by what they stand for."""
    if isinstance(value, Macro):
        if value.name not in macros:
            raise ConfigError(f"{where}: %{value.name} is not defined; "
                              f"{nearest(value.name, macros)}")
        if value.name in seen:
            raise ConfigError(f"{where}: %{value.name} stands for itself.")
        return look_up(macros[value.name], macros, where, (*seen, value.name))
    if isinstance(value, Mapping):
        return {look_up(k, macros, where, seen): look_up(v, macros, where, seen)
                for k, v in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(look_up(v, macros, where, seen) for v in value)
    return value


def as_flag(binding: Binding, macros: Mapping[str, Any]) -> str:
    """Return a binding as an argument of ml_collections, which checks its type."""
    value = look_up(binding.value, macros, binding.where)
    if isinstance(value, Mapping):
        raise ConfigError(f"{binding.where}: {binding.name} = {value!r}; set its keys one by one, "
                          f"such as {binding.name}.name = ...")
    if isinstance(value, list):
        value = tuple(value)         # how ml_collections writes sequences
    return f"--config.{binding.name}={value}"
