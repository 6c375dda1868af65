"""A Dask cluster on loopback for tests; prints its address and ends with its standard input."""

from __future__ import annotations

import sys

from distributed import LocalCluster


def main() -> None:
    workers, gpus = (int(text) for text in sys.argv[1:])
    with LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        host="127.0.0.1",
        # Without these the pages of all processes would listen on every interface.
        dashboard_address="127.0.0.1:0",
        worker_dashboard_address="127.0.0.1:0",
        resources={"GPU": gpus} if gpus else None,
        silence_logs=50,
    ) as cluster:
        sys.stdout.write(f"{cluster.scheduler_address}\n")
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    main()
