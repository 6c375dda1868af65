"""A Ray cluster on loopback for tests; prints its address and ends with its standard input."""

from __future__ import annotations

import sys
import tempfile

import ray
from ray._private import services


def main() -> None:
    # Ray puts the machine's address in place of a loopback one, and then listens on every interface.
    services.resolve_ip_for_localhost = lambda host: host
    # A short name: Ray's sockets lie below it.
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        ray.init(
            "local",
            _node_ip_address="127.0.0.1",
            _temp_dir=folder,
            num_cpus=2,
            num_gpus=0,
            include_dashboard=False,
            object_store_memory=80 * 2**20,
            log_to_driver=False,
            logging_level="ERROR",
        )
        sys.stdout.write(f"{ray.get_runtime_context().gcs_address}\n")
        sys.stdout.flush()
        sys.stdin.read()
        ray.shutdown()


if __name__ == "__main__":
    main()
