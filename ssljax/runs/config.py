"""Load and check the config of a run, before anything compiles. Free of jax."""

import ast
import importlib.util
import inspect
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import ml_collections
from absl import flags
from ml_collections import config_flags

from ssljax.core.config import (
    check_spec,
    find_make,
    map_specs,
    matches,
    package_of,
    split_spec,
    type_name,
)
from ssljax.core.errors import ConfigError, nearest
from ssljax.core.source import Packing
from ssljax.optim.groups import COMMON as OPTIM_WORDS
from ssljax.optim.groups import read as read_optim
from ssljax.runs import gin_config
from ssljax.train.alarm import Action

# Every key a pre-training config may have: its type, and whether it must be there. Values a run can
# change are all in the experiment file; these are the words it may use.
KEYS: Mapping[str, tuple[Any, bool]] = {
    "seed": (int, True), "mesh": (Mapping, True), "batch_size": (int, True),
    "total_steps": (int, True), "source": (Mapping, True), "pretext": (Mapping, True),
    "model": (Mapping, True), "objective": (Mapping, True), "optim": (Mapping, True),
    "schedule": (Mapping, True), "compute_dtype": (str, True), "accumulate": (int, True),
    "track": (Mapping, False), "log_steps": (int, True),
    "checkpoint_steps": (int, True), "keep_checkpoints": (int, True),
    "evals": (Mapping, False), "seq_len": (int, False), "workers": (int, False),
    # What several parts of a config refer to (a path, a size); nothing reads it itself.
    "data": (Mapping, False),
    "packing": (Packing, False), "cache": (str, False), "spike_factor": (float, False),
    "max_rejected": (int, False), "rewinds": (int, False), "keep_every": (int, False),
    "zero1": (bool, False), "alarm": (Action, False),
    "keep_best": (str, False), "checkpoint_root": (str, False), "stall_seconds": (float, False)}
# What runs.evaluators hands over.
SUPPLIED_TO_EVALS = ("model", "pretext", "plain", "example", "views", "load_encoder", "cache")
# What a config need not say.
DEFAULTS: Mapping[str, Any] = {
    "spike_factor": 0.0,        # largest gradient norm over its running mean; 0 does not judge
    "max_rejected": 20,         # rejected steps in a row that end the run, or rewind it
    "rewinds": 0,               # times a diverged run goes back to a checkpoint and skips batches
    "keep_every": 0,            # steps; checkpoints at its multiples stay for ever
    "keep_best": "",            # "LABEL/NAME" of a judgement; "-LABEL/NAME" where higher is better
    "checkpoint_root": "",      # folder or bucket (gs://, s3://) instead of WORKDIR/checkpoints
    "zero1": False,             # split the optimizer's state and update over the data axis too
    "alarm": "warn",            # on signs of collapse: "warn", "stop" (saves, then fails) or "off"
    "stall_seconds": 300.0,     # a step longer than this is reported with every thread's stack
    "workers": 0, "evals": {}}
# What may differ when a run is continued: none of it changes the numbers of the steps to come,
# but for total_steps, which is how a run is made longer.
CHANGEABLE = {"total_steps", "log_steps", "checkpoint_steps", "keep_checkpoints", "evals", "mesh",
              "track",
              "workers", "cache", "max_rejected", "rewinds", "keep_every", "keep_best",
              "checkpoint_root", "stall_seconds", "zero1", "alarm"}
SPECS = ("source", "pretext", "model", "objective", "schedule")
DTYPES = ("float32", "bfloat16")
ALWAYS_TRACKED = ("jsonl", "tensorboard", "progress")     # writers that every run has


def find_config(path: str) -> pathlib.Path:
    """Return the file of a config: as given, or inside the installed experiments or pipelines.

    Raises:
        ConfigError: there is no such file.
    """
    given = pathlib.Path(path)
    if given.is_file():
        return given
    top = given.parts[0] if given.parts else ""
    installed = importlib.util.find_spec(top) if top in ("experiments", "data_pipelines") else None
    if installed and installed.origin:
        packaged = pathlib.Path(installed.origin).parent.joinpath(*given.parts[1:])
        if packaged.is_file():
            return packaged
    known = [str(p) for p in given.parent.glob("*.py")] if given.parent.is_dir() else []
    raise ConfigError(f"No config file {path}; {nearest(path, known)}")


def all_keys(config: ml_collections.ConfigDict, prefix: str = "") -> list[str]:
    """Return the dotted name of every value in a config."""
    names = []
    for key, value in config.items():
        names.append(f"{prefix}{key}")
        if isinstance(value, ml_collections.ConfigDict):
            names += all_keys(value, f"{prefix}{key}.")
    return names


def open_keys(config: ml_collections.ConfigDict, key: str = "", prefix: str = "") -> list[str]:
    """Return the dotted names of values that a config leaves out and a run could have.

    They are the run's own optional words, the axes of its mesh, and the options of every plug-in
    that it names: what an experiment does not mention can still be set from the command line.
    """
    package = package_of(key) or prefix.partition(".")[0]
    names = list(KEYS) if not prefix else []
    # A recipe's target is no plug-in of this package: its options are those that the recipe has.
    if "name" in config and prefix and importlib.util.find_spec(f"ssljax.{package}"):
        make = inspect.signature(find_make(package, config.name))
        names = [n for n, p in make.parameters.items() if p.kind is p.KEYWORD_ONLY]
        names += OPTIM_WORDS if package == "optim" else ()
    found = [f"{prefix}{name}" for name in names]
    for name, value in config.items():
        if isinstance(value, ml_collections.ConfigDict):
            found += open_keys(value, name, f"{prefix}{name}.")
    return found


def literal(text: str) -> Any:
    """Return the value that an override's text stands for; what is no literal is a string."""
    try:
        return ast.literal_eval({"true": "True", "false": "False"}.get(text, text))
    except (ValueError, SyntaxError):
        return text


def add_value(config: ml_collections.ConfigDict, name: str, text: str) -> None:
    """Set a value that an experiment does not mention.

    Raises:
        ConfigError: a run has no such value, or it is a whole mapping.
    """
    axis = name.removeprefix("mesh.")
    if axis != name and "mesh" in config:
        if not text.removeprefix("-").isdecimal():
            raise ConfigError(f"--config.{name}={text}: expected a whole number of devices, such "
                              f"as --config.{name}=8, or -1 for those that are left.")
    else:
        known = {*all_keys(config), *open_keys(config)}
        if name not in known:
            raise ConfigError(f'config has no "{name}"; {nearest(name, known)}')
    *parents, last = name.split(".")
    with config.unlocked():
        for parent in parents:
            config = config[parent]
        with config.unlocked():
            config[last] = literal(text)


def load_config(path: str, overrides: Sequence[str] = ()) -> ml_collections.ConfigDict:
    """Return get_config(arg) of "FILE[:arg]" with overrides such as "--config.optim.lr=1e-3".

    Overrides may be gin's: "--gin=FILE" and "--gin.optim.lr=1e-3", see runs/gin_config.py.

    Raises:
        ConfigError: no such file or key, or a value of another type.
        MissingExtraError: gin-config is asked for and not installed.
    """
    file, colon, arg = path.partition(":")
    found = f"{find_config(file)}{colon}{arg}"
    plain = parse_flag(found, ())
    overrides = gin_config.translate(overrides, lambda: [*all_keys(plain), *open_keys(plain)])
    told, added, known = [], [], all_keys(plain)
    for override in overrides:
        name, equals, text = override.removeprefix("--config.").partition("=")
        if not equals:
            raise ConfigError(f"{override} has no value; write {override}=VALUE.")
        if name in known and not name.startswith("mesh."):
            told.append(override)
        else:
            added.append((name, text))
    config = parse_flag(found, told) if told else plain
    for name, text in added:
        add_value(config, name, text)
    return config


def parse_flag(path: str, overrides: Sequence[str]) -> ml_collections.ConfigDict:
    """Parse a config flag and its overrides; the library's errors become ConfigError."""
    values, arguments = flags.FlagValues(), ["ssljax", f"--config={path}", *overrides]
    config_flags.DEFINE_config_file("config", flag_values=values, sys_argv=arguments)
    try:
        values(arguments)
        config = values.config
    except ConfigError:
        raise
    except (flags.Error, KeyError, TypeError, ValueError, AttributeError) as err:
        reason = str(err).strip("'\"").splitlines()[-1]
        raise ConfigError(f"Config {path} {' '.join(overrides)}: {reason}") from err
    if not isinstance(config, ml_collections.ConfigDict):
        raise ConfigError(f"get_config of {path} returned {type(config).__name__}; expected an "
                          "ml_collections.ConfigDict.")
    return config


def to_plain(config: Any) -> Any:
    """Return a config as dicts, lists and scalars: what JSON holds, references resolved."""
    if isinstance(config, Mapping | ml_collections.ConfigDict):
        return {str(k): to_plain(v) for k, v in config.items()}
    if isinstance(config, list | tuple):
        return [to_plain(v) for v in config]
    return config


def check_names(where: str, package: str, spec: Mapping[str, Any], supplied: Sequence[str]) -> None:
    """Raise ConfigError if a spec, or one nested in it, cannot be built."""
    name, kwargs = split_spec(where, spec)
    make = find_make(package, name)
    check_spec(f"{where} {name!r}", make, kwargs, dict.fromkeys(supplied))
    for key, value in kwargs.items():
        map_specs(key, value, f"{where}.{key}",
                  lambda package, spec, where: check_names(where, package, spec, supplied))


def check_run(config: Mapping[str, Any]) -> None:
    """Raise ConfigError unless a plain config can be a pre-training run.

    Reads every name, keyword and type, and loads no data.
    """
    for key in config:
        if key not in KEYS:
            raise ConfigError(f'config has no place for "{key}"; {nearest(key, KEYS)}')
    for key, (kind, required) in KEYS.items():
        if key not in config:
            if required:
                raise ConfigError(f'config needs "{key}"; see experiments/gpt/quickstart.py.')
        elif not (isinstance(config[key], dict) if kind is Mapping else
                  matches(config[key], kind)):
            raise ConfigError(f"config.{key} = {config[key]!r}; expected {type_name(kind)}.")
    check_numbers(config)
    read_optim(config["optim"])
    for key in SPECS:
        check_names(key, package_of(key), config[key], ("cache", "total_steps"))
    for label, spec in config.get("evals", {}).items():
        check_names(f"evals.{label}", "evals", spec, SUPPLIED_TO_EVALS)
    for label, spec in config.get("track", {}).items():
        check_writer(f"track.{label}", spec)


def check_writer(where: str, spec: Mapping[str, Any]) -> None:
    """Raise ConfigError if a spec under `track` cannot be built."""
    name, _ = split_spec(where, spec)
    if name in ALWAYS_TRACKED:
        raise ConfigError(f'{where} names "{name}", which every run has; leave it out.')
    check_names(where, "track", spec, ("workdir", "settings", "total_steps", "start", "unit"))


def with_defaults(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a plain config that says everything: what it leaves out is in DEFAULTS."""
    return {**DEFAULTS, **config}


def checkpoint_root(workdir: pathlib.Path, config: Mapping[str, Any]) -> str:
    """Return the folder or bucket of a run's checkpoints."""
    return config.get("checkpoint_root") or str(workdir.absolute() / "checkpoints")


def check_numbers(config: Mapping[str, Any]) -> None:
    """Raise ConfigError for sizes that cannot work on any machine."""
    for key in ("batch_size", "total_steps", "accumulate", "log_steps", "checkpoint_steps",
                "keep_checkpoints"):
        if config[key] < 1:
            raise ConfigError(f"config.{key} = {config[key]}; expected at least 1.")
    full = with_defaults(config)
    for key, least in (("max_rejected", 1), ("rewinds", 0), ("keep_every", 0), ("workers", 0)):
        if full[key] < least:
            raise ConfigError(f"config.{key} = {full[key]}; expected at least {least}.")
    if full["spike_factor"] and full["spike_factor"] <= 1:
        raise ConfigError(f"config.spike_factor = {full['spike_factor']}; expected more than 1 "
                          "(10 is usual), or 0 to judge only whether steps are finite.")
    if full["stall_seconds"] <= 0:
        raise ConfigError(f"config.stall_seconds = {full['stall_seconds']}; expected seconds > 0.")
    if config["compute_dtype"] not in DTYPES:
        raise ConfigError(f'compute_dtype "{config["compute_dtype"]}"; '
                          f"{nearest(config['compute_dtype'], DTYPES)}")
    if not 0 <= config["seed"] < 2**32:
        raise ConfigError(f"config.seed = {config['seed']}; expected 0 to {2**32 - 1}.")


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return {"optim.lr": 1e-3, ...} of a plain config."""
    flat = {}
    for key, value in config.items():
        nested = flatten(value, f"{prefix}{key}.") if isinstance(value, Mapping) and value else None
        flat |= nested or {f"{prefix}{key}": value}
    return flat


def config_differences(saved: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return how two plain configs differ in what a continued run may not change."""
    a, b = flatten(saved), flatten(now)
    names = [n for n in sorted(a.keys() | b.keys()) if n.partition(".")[0] not in CHANGEABLE]
    return [f"{n}: {a.get(n, 'absent')!r} there, {b.get(n, 'absent')!r} now"
            for n in names if a.get(n) != b.get(n)]
