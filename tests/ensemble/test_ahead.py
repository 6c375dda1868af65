from __future__ import annotations

import threading
import time

import torch

from ensemble.ahead import ahead, single_threaded


def test_results_come_in_order_whatever_finishes_first():
    with single_threaded(4) as pool:

        def work(number: int) -> int:
            time.sleep(0.002 * (number % 3))
            return number

        assert list(ahead(lambda number: pool.submit(work, number).result, range(20), window=7)) == list(range(20))


def test_no_more_than_the_window_is_in_work():
    taken, given, most = 0, 0, 0

    def items():
        nonlocal taken
        for number in range(15):
            taken += 1
            yield number

    for result in ahead(lambda number: lambda: number, items(), window=4):
        most = max(most, taken - given)
        assert result == given
        given += 1
    assert (given, most) == (15, 4)


def test_a_thread_of_the_pool_computes_alone_and_no_other_is_touched():
    before = torch.get_num_threads()
    barrier = threading.Barrier(3)
    torch.set_num_threads(3)
    try:
        with single_threaded(3) as pool:

            def count(_: int) -> int:
                barrier.wait()
                return torch.get_num_threads()

            assert list(pool.map(count, range(3))) == [1, 1, 1]
        assert torch.get_num_threads() == 3
        fresh: list[int] = []
        thread = threading.Thread(target=lambda: fresh.append(torch.get_num_threads()))
        thread.start()
        thread.join()
        assert fresh == [3]
    finally:
        torch.set_num_threads(before)
