"""What is found out about a cluster before a job is sent to it."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest
from cv_folds_samples import job_spec

from cv_folds.errors import HamcvError, UsageError
from cv_folds.scheduling import dask_engine, ray_engine
from cv_folds.scheduling.engine import EngineOptions
from cv_folds.scheduling.engines import check_backend, open_engine


def options(address: str, device: str = "auto", jobs: int | None = None) -> EngineOptions:
    return EngineOptions(device=device, jobs=jobs, n_jobs=15, address=address)


def refusal(name: str, chosen: EngineOptions) -> str:
    with pytest.raises(UsageError) as refused, open_engine(name, chosen):
        pass
    return str(refused.value)


@pytest.fixture
def closed_port() -> Iterator[int]:
    # Bound all the while, so that nobody else takes it; nobody listens.
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield int(holder.getsockname()[1])


def test_a_gpu_that_no_dask_worker_offers_is_missed_before_submitting(dask_address):
    message = refusal("dask", options(dask_address, "cuda"))
    assert "none of the 2 workers" in message
    assert f"dask worker {dask_address} --nthreads 1 --resources GPU=1" in message
    with open_engine("dask", options(dask_address)) as engine:
        assert (engine.device, engine.side_by_side, engine.threads) == ("cpu", 2, 1)
    with open_engine("dask", options(dask_address, jobs=1)) as engine:
        assert engine.side_by_side == 1


def test_dask_workers_that_offer_gpus_are_used_for_them(start_cluster):
    with start_cluster("dask", "1", "1") as address:
        for device, expected in (("auto", "cuda"), ("cuda", "cuda"), ("cpu", "cpu")):
            with open_engine("dask", options(address, device)) as engine:
                assert engine.device == expected
                assert engine.side_by_side == 1


def test_a_dask_cluster_without_workers(start_cluster, monkeypatch):
    monkeypatch.setattr(dask_engine, "WORKER_SECONDS", 1)
    with start_cluster("dask", "0", "0") as address:
        message = refusal("dask", options(address))
    assert "has no worker" in message
    assert f"dask worker {address}" in message


def test_nobody_at_the_dask_address(closed_port, monkeypatch):
    monkeypatch.setattr(dask_engine, "CONNECT_SECONDS", 1)
    message = refusal("dask", options(f"tcp://127.0.0.1:{closed_port}"))
    assert "no Dask scheduler can be reached" in message
    assert len(message.splitlines()) == 1


def test_nobody_at_the_ray_address(closed_port):
    message = refusal("ray", options(f"127.0.0.1:{closed_port}"))
    assert "no Ray cluster can be joined" in message
    assert "ray start --head" in message
    assert len(message.splitlines()) == 1


@pytest.mark.parametrize("address", ["local", "auto", "", "ray://host:10001", "host", ":6379", "host:port"])
def test_ray_is_given_no_address_with_which_it_would_start_a_cluster(address):
    assert "head node of a Ray cluster" in refusal("ray", options(address))


@pytest.mark.parametrize(("name", "package"), [("dask", "distributed"), ("ray", "ray")])
def test_an_extra_that_is_not_installed_is_named(name, package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    assert f"pip install 'hamcv[{name}]'" in refusal(name, options("127.0.0.1:9"))


@pytest.mark.parametrize(
    ("name", "address", "device", "words"),
    [
        ("slurm", None, "auto", "local, dask, ray"),
        ("local", "h:1", "auto", "--backend dask or ray"),
        ("dask", None, "auto", "--address tcp://HOST:8786"),
        ("ray", None, "cpu", "--address HOST:6379"),
        ("ray", "h:1", "cuda:1", "use --device cuda"),
    ],
)
def test_options_that_do_not_go_together(name, address, device, words):
    with pytest.raises(UsageError, match=words):
        check_backend(name, address, device)


@pytest.mark.parametrize(
    ("name", "address", "device"), [("local", None, "cuda:1"), ("dask", "h:1", "cuda"), ("ray", "h:1", "auto")]
)
def test_options_that_go_together(name, address, device):
    check_backend(name, address, device)


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_a_gpu_that_no_ray_node_has_is_missed_before_submitting(ray_address):
    assert "no node of the Ray cluster" in refusal("ray", options(ray_address, "cuda"))
    with open_engine("ray", options(ray_address)) as engine:
        assert (engine.device, engine.side_by_side, engine.threads) == ("cpu", 2, 1)


@pytest.mark.parametrize(
    ("nodes", "device", "expected"),
    [
        ([{"CPU": 16, "GPU": 4}, {"CPU": 8, "GPU": 1}], "cuda", 4),
        ([{"CPU": 16}, {"CPU": 6}], "cpu", 6),
        # A head node may have none.
        ([{}, {"CPU": 6}], "cpu", 6),
        ([{"CPU": 2, "GPU": 4}], "cuda", 0),
        ([{}], "cpu", 0),
    ],
)
def test_the_cpus_of_a_job_are_there_on_every_node(nodes, device, expected):
    assert ray_engine._cpus_of_a_job(nodes, device) == expected


def test_a_dask_scheduler_that_goes_away_ends_the_run_in_one_line(start_cluster, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(dask_engine, "CONNECT_SECONDS", 10)
    spec = job_spec(tmp_path)
    spec.run.mkdir()
    with ExitStack() as stack:
        address = stack.enter_context(start_cluster("dask", "1", "0"))
        with open_engine("dask", options(address)) as engine:
            send = engine._send

            def send_and_lose(*arguments):
                sent = send(*arguments)
                stack.close()
                return sent

            monkeypatch.setattr(engine, "_send", send_and_lose)
            with pytest.raises(HamcvError, match=r"lost|forgot") as lost, closing(engine.outcomes([spec])) as outcomes:
                next(outcomes)
    assert address in str(lost.value)
    assert len(str(lost.value).splitlines()) == 1
