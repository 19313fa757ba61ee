"""Which process of how many this is, from every launcher's environment."""

import pytest

from ssljax.core.errors import ConfigError
from ssljax.runs.placement import EPHEMERAL, find_placement, first_host, from_flags

SLURM = {"SLURM_JOB_ID": "812", "SLURM_STEP_NODELIST": "gpu[03-04]", "SLURM_NTASKS": "2",
         "SLURM_PROCID": "1", "SLURM_LOCALID": "0", "SLURM_STEP_NUM_NODES": "2"}
POD = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "JOB_COMPLETION_INDEX": "2",
       "JAX_NUM_PROCESSES": "4", "HOSTNAME": "train-workers-0-2"}


def test_nothing_in_the_environment_is_one_process():
    assert find_placement("auto", {}) is None
    assert find_placement("off", SLURM) is None


def test_a_step_of_slurm():
    found = find_placement("auto", SLURM)
    assert found.coordinator.startswith("gpu03:") and found[2:] == (2, 1, None)
    assert int(found.coordinator.partition(":")[2]) in EPHEMERAL
    assert "Slurm job 812: process 1 of 2" in found.describe()
    other = find_placement("slurm", {**SLURM, "SLURM_STEP_ID": "1"})
    assert other.coordinator != found.coordinator            # two steps of a job do not collide
    assert find_placement("auto", {**SLURM, "SLURM_PROCID": "0"}).coordinator == found.coordinator


def test_a_batch_script_without_srun_and_a_step_of_one_task_are_alone():
    assert find_placement("auto", {**SLURM, "SLURM_NTASKS": "1"}) is None
    assert find_placement("auto", {"SLURM_JOB_ID": "812", "SLURM_NTASKS": "8"}) is None


@pytest.mark.parametrize("visible, tasks, expected", [
    ("0,1,2,3", "8", (3,)),          # four tasks a node share its four GPUs: one each
    ("3", "8", None),                # --gpus-per-task: it sees its own only
    ("0,1,2,3", "2", None),          # alone on its node: all four are its own
    ("", "8", None),
])
def test_a_task_takes_the_devices_that_are_its_own(visible, tasks, expected):
    env = {**SLURM, "SLURM_LOCALID": "3", "SLURM_NTASKS": tasks, "CUDA_VISIBLE_DEVICES": visible}
    assert find_placement("slurm", env).local_devices == expected


@pytest.mark.parametrize("nodes, host", [
    ("node001", "node001"), ("node001,host2", "node001"), ("node[001-015],host2", "node001"),
    ("gpu[003,007-010]-ib", "gpu003-ib"), ("localhost", "localhost"), ("a-b[1-2]", "a-b1")])
def test_first_host_of_a_node_list(nodes, host):
    assert first_host(nodes) == host


def test_an_indexed_job_and_a_jobset_of_kubernetes():
    assert find_placement("auto", POD)[1:4] == ("train-workers-0-0:9911", 4, 2)
    full = "train-workers-0-2.train.default.svc.cluster.local"
    found = find_placement("auto", {**POD, "JAX_COORDINATOR_PORT": "1234"}, full_name=full)
    assert found.coordinator == "train-workers-0-0.train.default.svc.cluster.local:1234"
    assert find_placement("auto", POD, full_name="other.domain").coordinator.startswith(
        "train-workers-0-0:")
    told = {**POD, "JAX_COORDINATOR_ADDRESS": "10.1.2.3:5"}
    assert find_placement("kubernetes", told).coordinator == "10.1.2.3:5"
    assert find_placement("auto", {**POD, "JAX_NUM_PROCESSES": "1"}) is None


def test_a_pod_that_does_not_know_of_how_many_is_refused():
    env = {k: v for k, v in POD.items() if k != "JAX_NUM_PROCESSES"}
    with pytest.raises(ConfigError, match="Set JAX_NUM_PROCESSES"):
        find_placement("auto", env)
    with pytest.raises(ConfigError, match="does not end in its index"):
        find_placement("auto", {**POD, "HOSTNAME": "somewhere"})


def test_jax_variables_of_any_launcher_and_open_mpi():
    env = {"JAX_COORDINATOR_ADDRESS": "h:1", "JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": "0"}
    assert find_placement("auto", env)[:4] == ("environment", "h:1", 2, 0)
    mpi = {"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "1"}
    with pytest.raises(ConfigError, match="-x JAX_COORDINATOR_ADDRESS"):
        find_placement("auto", mpi)
    found = find_placement("auto", {**mpi, "JAX_COORDINATOR_ADDRESS": "h"})
    assert found[:4] == ("Open MPI", "h:9911", 2, 1)


def test_a_tpu_slice_is_left_to_jax_and_one_host_is_alone():
    assert find_placement("auto", {}, tpu_hosts=True).coordinator is None
    assert find_placement("auto", {"TPU_WORKER_HOSTNAMES": "a,b"}, tpu_hosts=True) is not None
    assert find_placement("auto", {"TPU_WORKER_HOSTNAMES": "a"}, tpu_hosts=True) is None
    assert find_placement("auto", {"TPU_WORKER_HOSTNAMES": "a,b"}) is None


@pytest.mark.parametrize("mode, env, message", [
    ("slrum", {}, 'did you mean "slurm"'),
    ("slurm", {}, "environment says nothing of it"),
    ("slurm", {**SLURM, "SLURM_PROCID": "one"}, 'SLURM_PROCID="one"'),
])
def test_what_cannot_be_is_said(mode, env, message):
    with pytest.raises(ConfigError, match=message):
        find_placement(mode, env)


@pytest.mark.parametrize("flags", [("nowhere", 2, 0), ("h:1", 2, 2), ("h:port", 2, 0)])
def test_flags_that_cannot_be(flags):
    with pytest.raises(ConfigError, match="expected host:port"):
        from_flags(*flags)
