"""Which pictures share a pass of the networks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from serving_fakes import wait_until

from serving.metrics import Metrics
from serving.micro_batching import MicroBatcher


class FakeNetworks:
    """Doubles numbers; keeps what each pass was given."""

    def __init__(self) -> None:
        self.passes: list[list[int]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.fails_on: set[int] = set()

    def run(self, prepared: list[int]) -> list[np.ndarray]:
        self.passes.append(list(prepared))
        assert self.gate.wait(10)
        if self.fails_on & set(prepared):
            raise RuntimeError(f"cannot do {self.fails_on}")
        return [np.array(2 * number) for number in prepared]


@pytest.fixture
def networks() -> FakeNetworks:
    return FakeNetworks()


@pytest.fixture
def make_batcher() -> Iterator[Callable[..., MicroBatcher]]:
    made: list[MicroBatcher] = []

    def make(max_batch: int = 1, max_wait_s: float = 0.0) -> MicroBatcher:
        made.append(MicroBatcher(max_batch, max_wait_s, Metrics(), lambda *_: None))
        return made[-1]

    yield make
    for batcher in made:
        batcher.close()


def hold(batcher: MicroBatcher, networks: FakeNetworks) -> object:
    """Keeps the thread busy with picture 0, so that what comes next waits."""
    networks.gate.clear()
    future = batcher.submit(networks, 0)
    wait_until(lambda: networks.passes == [[0]])
    return future


def test_one_at_a_time(make_batcher: Callable[..., MicroBatcher], networks: FakeNetworks) -> None:
    batcher = make_batcher()
    futures = [batcher.submit(networks, number) for number in range(5)]
    assert [int(future.result(10)) for future in futures] == [0, 2, 4, 6, 8]
    assert networks.passes == [[0], [1], [2], [3], [4]]


def test_what_waits_shares_a_pass_up_to_the_limit(
    make_batcher: Callable[..., MicroBatcher], networks: FakeNetworks
) -> None:
    batcher = make_batcher(max_batch=3)
    first = hold(batcher, networks)
    futures = [batcher.submit(networks, number) for number in range(1, 6)]
    networks.gate.set()
    assert [int(future.result(10)) for future in [first, *futures]] == [0, 2, 4, 6, 8, 10]
    assert networks.passes == [[0], [1, 2, 3], [4, 5]]


def test_the_first_waits_for_others_to_join(make_batcher: Callable[..., MicroBatcher], networks: FakeNetworks) -> None:
    batcher = make_batcher(max_batch=2, max_wait_s=30.0)
    first = batcher.submit(networks, 1)
    assert not networks.passes
    second = batcher.submit(networks, 2)
    assert (int(first.result(10)), int(second.result(10))) == (2, 4)
    assert networks.passes == [[1, 2]]


def test_a_lone_picture_waits_no_longer_than_it_should(
    make_batcher: Callable[..., MicroBatcher], networks: FakeNetworks
) -> None:
    assert int(make_batcher(max_batch=8, max_wait_s=0.01).submit(networks, 3).result(10)) == 6


def test_two_models_never_share_a_pass_and_keep_the_order(
    make_batcher: Callable[..., MicroBatcher], networks: FakeNetworks
) -> None:
    batcher, newer = make_batcher(max_batch=8), FakeNetworks()
    hold(batcher, networks)
    futures = [batcher.submit(model, n) for model, n in ((networks, 1), (newer, 2), (newer, 3), (networks, 4))]
    networks.gate.set()
    assert [int(future.result(10)) for future in futures] == [2, 4, 6, 8]
    assert networks.passes == [[0], [1], [4]]
    assert newer.passes == [[2, 3]]


def test_cancelled_pictures_cost_nothing(make_batcher: Callable[..., MicroBatcher], networks: FakeNetworks) -> None:
    batcher = make_batcher(max_batch=2)
    hold(batcher, networks)
    futures = [batcher.submit(networks, number) for number in range(1, 5)]
    assert futures[0].cancel()
    assert futures[2].cancel()
    networks.gate.set()
    assert int(futures[3].result(10)) == 8
    assert networks.passes == [[0], [2, 4]]


def test_a_picture_that_fails_fails_alone(make_batcher: Callable[..., MicroBatcher], networks: FakeNetworks) -> None:
    batcher = make_batcher(max_batch=3)
    hold(batcher, networks)
    networks.fails_on = {2}
    futures = [batcher.submit(networks, number) for number in (1, 2, 3)]
    networks.gate.set()
    assert (int(futures[0].result(10)), int(futures[2].result(10))) == (2, 6)
    with pytest.raises(RuntimeError, match="cannot do"):
        futures[1].result(10)


def test_closing_finishes_the_pass_and_cancels_what_waits(
    make_batcher: Callable[..., MicroBatcher], networks: FakeNetworks
) -> None:
    batcher = make_batcher()
    first = hold(batcher, networks)
    waiting = batcher.submit(networks, 1)
    closing = threading.Thread(target=batcher.close)
    closing.start()
    wait_until(waiting.cancelled)
    networks.gate.set()
    closing.join(10)
    assert int(first.result(0)) == 0
    assert waiting.cancelled()
    assert networks.passes == [[0]]
    with pytest.raises(RuntimeError, match="after shutdown"):
        batcher.submit(networks, 2)
