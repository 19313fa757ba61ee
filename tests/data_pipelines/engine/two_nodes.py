"""A Ray cluster of two nodes on loopback, for as long as the standard input is open.

Prints its address; a line "kill" ends the second node as kill -9 does, "add" starts another, and
"blind FOLDER" one that sees an empty folder there.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import ray
from ray.cluster_utils import Cluster

# Not 127.0.0.1, which Ray takes for the machine's outer address.
NODE = {"num_cpus": 1, "node_ip_address": "127.0.0.2", "object_store_memory": 100 << 20}


def processes(parent):
    """Yield the ids of a process and all below it."""
    yield parent
    with open(f"/proc/{parent}/task/{parent}/children") as file:
        for child in file.read().split():
            yield from processes(int(child))


def kill(node):
    """Kill every process of a node at once."""
    for info in [p for group in node.all_processes.values() for p in group]:
        for each in list(processes(info.process.pid)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(each, signal.SIGKILL)


def blind(address, folder):
    """Start a third node in a mount namespace of its own, or say that we may not."""
    shell = 'mount -t tmpfs none "$1" && exec "$0" start --address="$2" --block ' \
            '--node-ip-address=127.0.0.2 --num-cpus=1 --object-store-memory=100000000'
    program = str(Path(sys.executable).with_name("ray"))
    ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    known = {node["NodeID"] for node in ray.nodes()}
    child = subprocess.Popen(["unshare", "--mount", "sh", "-c", shell, program, folder, address],
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while child.poll() is None and time.monotonic() < until:
        if {node["NodeID"] for node in ray.nodes() if node["Alive"]} - known:
            break
        time.sleep(0.2)
    ray.shutdown()
    return child


def main():
    third = None
    cluster = Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False})
    second = cluster.add_node(**NODE)
    print(cluster.address, flush=True)
    for line in sys.stdin:
        if line == "kill\n":
            kill(second)
            cluster.remove_node(second, allow_graceful=False)
        elif line == "add\n":
            second = cluster.add_node(**NODE)
        else:
            third = blind(cluster.address, line.split(" ", 1)[1].strip())
        print("done" if third is None or third.poll() is None else "refused", flush=True)
    if third is not None and third.poll() is None:
        for each in list(processes(third.pid)):
            os.kill(each, signal.SIGKILL)
    cluster.shutdown()


if __name__ == "__main__":
    main()
