"""Connects to a Ray cluster and looks at every node of it before any task runs there.

Reads what `ray start` began; refuses a cluster where a node would make other bytes (other code) or
none (a folder it does not mount), with the node's name and what to do.
"""

import importlib.metadata
import platform
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from data_pipelines.engine.commit import code_version
from data_pipelines.engine.node import unseen
from ssljax.core.errors import ConfigError

ANSWER = 5                     # seconds for a cluster's port to accept us
LOOK = 60                      # seconds that a node may take to start a process and answer
# What decides bytes beside our own code.
PACKAGES = ("daft", "numpy", "pyarrow", "ray", "tokenizers")

# A node that has left the cluster since we asked it is no reason to stop.
GONE = (ray.exceptions.TaskUnschedulableError, ray.exceptions.NodeDiedError,
        ray.exceptions.WorkerCrashedError)


def connect(address: str, variables: Mapping[str, str]) -> None:
    """Connect to a running cluster, unless this process is.

    Args:
        address: HOST:PORT, or "auto" for the cluster that this machine is a node of.
        variables: environment of the processes that Ray starts for us.

    Raises:
        ConfigError: there is none.
    """
    if address.startswith("ray://"):
        raise ConfigError(f"--ray-address {address}: Ray's client protocol is not supported; run "
                          "this command on a node of the cluster with --ray-address auto.")
    if ray.is_initialized():
        return
    try:
        if address != "auto":      # Ray itself tries for minutes
            host, _, port = address.rpartition(":")
            socket.create_connection((host, int(port)), ANSWER).close()
        ray.init(address=address, log_to_driver=False, logging_level="ERROR",
                 runtime_env={"env_vars": dict(variables)})
    except (OSError, RuntimeError, ValueError) as err:
        raise ConfigError(f"No Ray cluster answers at {address} ({first_line(err)}). Start one "
                          "with `ray start --head`, join others with `ray start --address "
                          "HOST:PORT`, and run this on one of them; or leave out --executor ray."
                          ) from err


def check_nodes(folders: Sequence[str]) -> None:
    """Ask every node what it runs and sees.

    Raises:
        ConfigError: a node does not answer, or has other software than this one.
        DataError: a node does not see one of the folders.
    """
    asked = [(name_of(n), ray.remote(look).options(
        num_cpus=0, max_retries=0,
        scheduling_strategy=NodeAffinitySchedulingStrategy(n["NodeID"], soft=False),
    ).remote(list(folders))) for n in ray.nodes() if n["Alive"]]
    here = look(folders)["software"]
    for node, answer in asked:
        try:
            found = ray.get(answer, timeout=LOOK)
        except GONE:
            continue
        except Exception as err:
            raise ConfigError(f"Node {node} cannot run tasks ({first_line(err)}); it needs the "
                              "same Python with ssljax[curate,daft,ray].") from err
        other = {k: v for k, v in found["software"].items() if here[k] != v}
        if other:
            wanted = ", ".join(f"{k} {v}, here {here[k]}" for k, v in other.items())
            raise ConfigError(f"Node {node} has {wanted}; the same recipe could give other bytes "
                              "there. Install the same versions on every node.")
        for folder in found["unseen"]:
            raise unseen(node, folder)


def look(folders: Sequence[str]) -> dict[str, Any]:
    """Return the versions of what decides bytes, and the folders that are not here."""
    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    return {"software": {"Python": platform.python_version(), "data_pipelines": code_version(),
                         **versions},
            "unseen": [f for f in folders if not Path(f).exists()]}


def name_of(node: Mapping[str, Any]) -> str:
    """Return a node's host and address."""
    return f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})"


def first_line(err: Exception) -> str:
    """Return what an error says first, or its type."""
    text = getattr(err, "cause", None) or err
    return (str(text).strip().splitlines() or [type(err).__name__])[0][:200]
