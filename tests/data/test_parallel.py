import math

import pytest

from hdnet.data.parallel import ordered_map


@pytest.mark.parametrize("jobs", [1, 2])
def test_results_come_in_the_order_of_the_items(jobs):
    assert list(ordered_map(math.sqrt, [16.0, 9.0, 4.0], jobs, progress=False, label="")) == [4, 3, 2]


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_error_reaches_the_caller(jobs):
    with pytest.raises(ValueError, match=r"math domain|nonnegative"):
        list(ordered_map(math.sqrt, [1.0, -1.0], jobs, progress=False, label=""))


def test_progress_goes_to_stderr(capsys):
    list(ordered_map(math.sqrt, [1.0, 4.0], 1, progress=True, label="roots"))
    captured = capsys.readouterr()
    assert "roots" in captured.err
    assert not captured.out
