"""What every process of the tests compiles with: they compile much and compute little.

The least optimised code, of one module a program and by the emitters that were there before those
of fusions, takes XLA's compiler a fifth of the time.
"""

FLAGS = ("--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true "
         "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1")


def devices(count: int) -> str:
    """Return XLA_FLAGS for `count` fake CPU devices."""
    return f"--xla_force_host_platform_device_count={count} {FLAGS}"
