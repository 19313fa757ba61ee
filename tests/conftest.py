"""Eight fake CPU devices for every test, set before jax starts; data sets that may be absent."""

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=8")
