"""Turn dict(name="vit", **kwargs) into ssljax.models.vit.make(**kwargs).

The file name is the registry.

Specs nest (a model inside an evaluator's decoder, a source inside an evaluator) and are resolved
from the leaves up. `make` has typed keyword-only parameters and no **kw, so `check_spec` can refuse
unknown names, unknown keywords and wrong types before anything compiles. Free of jax.
"""

import importlib
import inspect
import pkgutil
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ssljax.core.errors import ConfigError, nearest

# Which package a config key's specs come from; a key ending in one of these after "_" counts too.
PACKAGES = {"model": "models", "decoder": "models", "predictor": "models",
            "objective": "objectives", "optim": "optim", "schedule": "schedules",
            "source": "sources", "pretext": "pretext", "tokenizer": "tokenizers", "evals": "evals",
            "filter": "filters"}


def package_of(key: str) -> str | None:
    """Return the package of specs under a config `key` such as "source" or "train_source"."""
    return PACKAGES.get(key) or PACKAGES.get(key.rpartition("_")[2])


def find_make(package: str, name: str, *, root: str = "ssljax") -> Callable[..., Any]:
    """Return `make` of ssljax.<package>.<name>; a dotted name reaches a user's own module.

    Raises:
        ConfigError: no such file, or the module has no `make`.
    """
    path = name if "." in name else f"{root}.{package}.{name}"
    if "." not in name:
        home = importlib.import_module(f"{root}.{package}")
        known = {m.name for m in pkgutil.iter_modules(home.__path__)}
        if name not in known:
            raise ConfigError(f'{package} has no "{name}"; {nearest(name, known)}')
    try:
        module = importlib.import_module(path)
    except ModuleNotFoundError as err:
        if "." in name and path.startswith(err.name or ""):
            raise ConfigError(f'{package} "{name}" cannot be imported: {err}. A dotted name is a '
                              "module on the Python path with a `make` function.") from err
        raise
    if not hasattr(module, "make"):
        raise ConfigError(f"{path} has no `make`; a plug-in defines make(*, ...).")
    return module.make


def map_specs(key: str, value: Any, where: str, build: Callable[[str, Any, str], Any]) -> Any:
    """Return a config value with every spec in it replaced by build(package, spec, where).

    Specs are found under the keys of PACKAGES, at any depth of plain mappings and lists. A mapping
    with a "name" under another key is the plug-in's own to resolve and stays as it is.
    """
    if hasattr(value, "items"):
        if package := package_of(key):
            return build(package, value, where)
        if "name" in value:
            return value
        return {k: map_specs(k, v, f"{where}.{k}", build) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [map_specs("", v, f"{where}[{i}]", build) for i, v in enumerate(value)]
    return value


def fits_fields(value: Any, hint: Any) -> bool:
    """Say whether a mapping has the keys of a TypedDict and fitting values; specs fit anything."""
    hints = typing.get_type_hints(hint)
    return (isinstance(value, Mapping) and hint.__required_keys__ <= value.keys() <= hints.keys()
            and all(package_of(k) is not None and isinstance(v, Mapping) or matches(v, hints[k])
                    for k, v in value.items()))


def type_name(hint: Any) -> str:
    """Return a type hint as a config's author would write it."""
    if typing.is_typeddict(hint):
        fields = typing.get_type_hints(hint).items()
        return "{" + ", ".join(f"{k}: {type_name(v)}" for k, v in fields) + "}"
    if typing.get_origin(hint) in (Mapping, Sequence):
        name = typing.get_origin(hint).__name__.lower()
        return f"{name} of {type_name(typing.get_args(hint)[-1])}"
    return str(hint) if typing.get_args(hint) else getattr(hint, "__name__", str(hint))


def matches(value: Any, hint: Any) -> bool:
    """Say whether a config value fits a type hint; int fits float, tuples and lists are one."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if typing.is_typeddict(hint):
        return fits_fields(value, hint)
    if origin is Mapping:
        return isinstance(value, Mapping) and all(matches(v, args[1]) for v in value.values())
    if hint is Any or hint is inspect.Parameter.empty:
        return True
    if origin in (typing.Union, types.UnionType):
        return any(matches(value, a) for a in args)
    if origin is typing.Literal:
        return value in args
    if origin in (tuple, list) or getattr(origin, "__name__", "") == "Sequence":
        items = [a for a in args if a is not Ellipsis]
        kinds = items * len(value) if isinstance(value, tuple | list) and len(items) == 1 else items
        return (isinstance(value, tuple | list) and len(kinds) == len(value)
                and all(map(matches, value, kinds)))
    kind = origin or hint
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    # Resolved leaves (Model, Source, callables) are built by us; only plain data can be mistyped.
    return isinstance(value, kind) if kind in (str, bool, dict, Mapping, type(None)) else True


def check_spec(where: str, make: Callable[..., Any], kwargs: Mapping[str, Any],
               supplied: Mapping[str, Any]) -> None:
    """Raise ConfigError if `make` cannot take `kwargs` beside what the run supplies."""
    hints = typing.get_type_hints(make)
    known = {n: p for n, p in inspect.signature(make).parameters.items()
             if p.kind is p.KEYWORD_ONLY}
    for name, value in kwargs.items():
        if name not in known:
            raise ConfigError(f'{where} has no option "{name}"; {nearest(name, set(known))}')
        if name in supplied:
            raise ConfigError(f"{where}.{name} is set by the run itself; leave it out.")
        hint = hints.get(name, Any)
        spec = package_of(name) is not None and isinstance(value, Mapping)
        if not spec and not matches(value, hint):
            raise ConfigError(f"{where}.{name} = {value!r} is a {type(value).__name__}; "
                              f"expected {type_name(hint)}.")
    for name, p in known.items():
        if p.default is p.empty and name not in kwargs and name not in supplied:
            raise ConfigError(f'{where} needs "{name}".')


def split_spec(where: str, spec: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return (name, keyword arguments) of a spec.

    Raises:
        ConfigError: it is not a mapping with a string "name".
    """
    if not isinstance(spec, Mapping) and not hasattr(spec, "items"):
        raise ConfigError(f'{where} = {spec!r}; expected a dict with a "name".')
    kwargs = dict(spec.items())
    name = kwargs.pop("name", None)
    if not isinstance(name, str):
        raise ConfigError(f'{where} has no "name"; expected dict(name="...", ...).')
    return name, kwargs


def resolve(package: str, spec: Mapping[str, Any], *args: Any, root: str = "ssljax",
            where: str = "", **supplied: Any) -> Any:
    """Build what `spec` names: check it, resolve nested specs, call `make(*args, **kwargs)`.

    Args:
        package: the package of ssljax that holds the file, such as "models".
        spec: dict(name=file, **keyword arguments); plain data.
        *args: positional arguments of `make` that the run hands over (a model, a schedule).
        root: the top package; data pipelines resolve their own steps with it.
        where: how the spec is called in messages; the package's name unless told.
        **supplied: keyword arguments that the run hands over, to nested specs too; those that
            `make` does not take are left out, and a config that sets one is refused.

    Raises:
        ConfigError: unknown name, unknown keyword, wrong type, or a missing keyword.
    """
    where = where or package
    name, kwargs = split_spec(where, spec)
    make = find_make(package, name, root=root)
    label = f"{where} {name!r}"
    wanted = inspect.signature(make).parameters
    taken = {k: v for k, v in supplied.items() if k in wanted}
    check_spec(label, make, kwargs, taken)

    def build(package: str, spec: Mapping[str, Any], where: str) -> Any:
        return resolve(package, spec, where=where, **supplied)

    kwargs = {k: map_specs(k, v, f"{where}.{k}", build) for k, v in kwargs.items()}
    return make(*args, **kwargs, **taken)
