"""Which of how many processes this one is, read from what started it. Free of jax.

    flags        --coordinator HOST:PORT --processes N --process I
    environment  JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES, JAX_PROCESS_ID, of any launcher
    slurm        srun's SLURM_* of a job step
    kubernetes   an Indexed Job or a JobSet: JOB_COMPLETION_INDEX, with the two below
    mpi          Open MPI's OMPI_COMM_WORLD_*
    tpu          a TPU slice of several hosts; jax asks the machine itself

In Kubernetes the pod knows its index and its host name, not how many there are: the job's template
sets JAX_NUM_PROCESSES to its completions, and JAX_COORDINATOR_ADDRESS or nothing: with a headless
service, which a JobSet makes, pod 0 has this pod's full name with another index.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

from ssljax.core.errors import ConfigError, nearest

MODES = ("auto", "off", "environment", "slurm", "kubernetes", "mpi", "tpu")
PORT = 9911                      # of a coordinator whose launcher names none
EPHEMERAL = range(61440, 65536)  # where ports are taken by job number, so that jobs do not collide


class Placement(NamedTuple):
    """A process among others.

    how:           what said so
    coordinator:   host:port of process 0; None where jax finds it (TPU)
    processes:     how many; None likewise
    process:       which, from 0; None likewise
    local_devices: the GPUs of the node that are this process's; None for all it can see
    """

    how: str
    coordinator: str | None
    processes: int | None
    process: int | None
    local_devices: tuple[int, ...] | None = None

    def describe(self) -> str:
        """Return one line for people."""
        if self.coordinator is None:
            return f"Distributed by {self.how}."
        devices = "" if self.local_devices is None else f", device {self.local_devices[0]}"
        return (f"Distributed by {self.how}: process {self.process} of {self.processes}{devices}, "
                f"coordinator {self.coordinator}.")


def find_placement(mode: str, env: Mapping[str, str], *, tpu_hosts: bool = False,
                   full_name: str = "") -> Placement | None:
    """Return this process's placement, or None where it is alone.

    Args:
        mode: one of MODES; "auto" takes the first that the environment speaks of.
        env: the environment.
        tpu_hosts: whether this machine has TPUs.
        full_name: of this host, with its domain.

    Raises:
        ConfigError: no such mode, or the environment does not say what the mode needs.
    """
    if mode not in MODES:
        raise ConfigError(f'--distributed "{mode}"; {nearest(mode, MODES)}')
    found = {"environment": lambda: from_environment(env), "slurm": lambda: from_slurm(env),
             "kubernetes": lambda: from_kubernetes(env, full_name), "mpi": lambda: from_mpi(env),
             "tpu": lambda: from_tpu(env, tpu_hosts)}
    if mode == "off":
        return None
    if mode == "auto":
        return next((p for find in found.values() if (p := find())), None)
    placement = found[mode]()
    if placement is None:
        raise ConfigError(f"--distributed {mode}: the environment says nothing of it (or of one "
                          "process only); use --distributed off, or --coordinator, --processes "
                          "and --process.")
    return placement


def from_flags(coordinator: str, processes: int, process: int) -> Placement:
    """Return what --coordinator, --processes and --process say.

    Raises:
        ConfigError: the numbers cannot be.
    """
    if not re.fullmatch(r"\S+:\d+", coordinator) or not 0 <= process < processes:
        raise ConfigError(f"--coordinator {coordinator} --processes {processes} --process "
                          f"{process}: expected host:port, and process from 0 to processes - 1.")
    return Placement("flags", coordinator, processes, process)


def from_environment(env: Mapping[str, str]) -> Placement | None:
    """Return what a launcher set in jax's own variables; None unless all three are there."""
    names = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
    if not all(env.get(name) for name in names):
        return None
    return Placement("environment", with_port(env[names[0]], env), number(env, names[1]),
                     number(env, names[2]))


def from_slurm(env: Mapping[str, str]) -> Placement | None:
    """Return what srun says; None outside a job step, or in one of one task.

    jax's own detection gives each task the one GPU of its local number; a task that is alone on its
    node, or was given its own GPU (--gpus-per-task), keeps what it sees.
    """
    names = ("SLURM_JOB_ID", "SLURM_STEP_NODELIST", "SLURM_NTASKS", "SLURM_PROCID")
    if not all(env.get(name) for name in names) or number(env, "SLURM_NTASKS") < 2:
        return None
    job, tasks = number(env, "SLURM_JOB_ID"), number(env, "SLURM_NTASKS")
    port = EPHEMERAL[(job * 7 + int(env.get("SLURM_STEP_ID", "0"))) % len(EPHEMERAL)]
    host = first_host(env["SLURM_STEP_NODELIST"])
    visible = env.get("CUDA_VISIBLE_DEVICES", "")
    shared = tasks > number(env, "SLURM_STEP_NUM_NODES", tasks) and "," in visible
    return Placement(f"Slurm job {job}", f"{host}:{env.get('JAX_COORDINATOR_PORT', port)}", tasks,
                     number(env, "SLURM_PROCID"),
                     (number(env, "SLURM_LOCALID"),) if shared else None)


def first_host(nodes: str) -> str:
    """Return the first host of a Slurm node list such as "gpu[003-007,010],login"."""
    found = re.match(r"([^,\[]+)(?:\[([^,\-\]]+)[^\]]*\])?([^,\[]*)", nodes)
    return "".join(part or "" for part in found.groups()) if found else nodes


def from_kubernetes(env: Mapping[str, str], full_name: str) -> Placement | None:
    """Return what an Indexed Job or a JobSet says; None outside one, or in one of one pod.

    Raises:
        ConfigError: the pod has an index, and nothing says of how many: training as if alone would
            make every pod write the same workdir.
    """
    index = env.get("JOB_COMPLETION_INDEX")
    if index is None:
        return None
    if not env.get("JAX_NUM_PROCESSES"):
        raise ConfigError(
            f"This pod has JOB_COMPLETION_INDEX {index}, but nothing says of how many. Set "
            "JAX_NUM_PROCESSES to the job's completions in its template, or use --distributed off "
            "where every pod is a run of its own.")
    processes = number(env, "JAX_NUM_PROCESSES")
    if processes < 2:
        return None
    address = env.get("JAX_COORDINATOR_ADDRESS") or pod_zero(env, full_name)
    return Placement("Kubernetes", with_port(address, env), processes,
                     number(env, "JOB_COMPLETION_INDEX"))


def pod_zero(env: Mapping[str, str], full_name: str) -> str:
    """Return the address of pod 0: this pod's full name with another index.

    Raises:
        ConfigError: the pod's name does not end in its index.
    """
    host, index = env.get("HOSTNAME", ""), env["JOB_COMPLETION_INDEX"]
    if not host.endswith(f"-{index}"):
        raise ConfigError(f'This pod is called "{host}", which does not end in its index {index}; '
                          "set JAX_COORDINATOR_ADDRESS to pod 0's address in the job's template.")
    name, _, domain = full_name.partition(".")
    first = f"{host.removesuffix(index)}0"
    return f"{first}.{domain}" if domain and name == host else first


def from_mpi(env: Mapping[str, str]) -> Placement | None:
    """Return what Open MPI says; None outside mpirun, or with one rank."""
    if number(env, "OMPI_COMM_WORLD_SIZE", 1) < 2:
        return None
    address = env.get("JAX_COORDINATOR_ADDRESS")
    if not address:
        raise ConfigError("mpirun started several ranks, but nothing says where rank 0 is: pass "
                          f"-x JAX_COORDINATOR_ADDRESS=HOST:{PORT} to mpirun.")
    return Placement("Open MPI", with_port(address, env), number(env, "OMPI_COMM_WORLD_SIZE"),
                     number(env, "OMPI_COMM_WORLD_RANK"))


def from_tpu(env: Mapping[str, str], tpu_hosts: bool) -> Placement | None:
    """Return that jax should ask the machine; None without TPUs or on one host."""
    hosts = env.get("TPU_WORKER_HOSTNAMES")
    if not tpu_hosts or (hosts is not None and "," not in hosts
                         and not env.get("MEGASCALE_COORDINATOR_ADDRESS")):
        return None
    return Placement("the TPU slice, as jax finds it", None, None, None)


def with_port(address: str, env: Mapping[str, str]) -> str:
    """Return host:port, the port as told or a fixed one."""
    return address if re.search(r":\d+$", address) else (
        f"{address}:{env.get('JAX_COORDINATOR_PORT', PORT)}")


def number(env: Mapping[str, str], name: str, default: int | None = None) -> int:
    """Return a variable as a whole number.

    Raises:
        ConfigError: it is none, or is absent and has no default.
    """
    text = env.get(name, "" if default is None else str(default))
    if not text.isdecimal():
        raise ConfigError(f'{name}="{text}" in the environment; expected a whole number.')
    return int(text)
