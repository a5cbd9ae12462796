import pytest
from specs import spec_of

from hdnet.errors import DataError
from hdnet.synthetic.cost import Cost, check_room
from hdnet.synthetic.cost import cost as cost_of_spec


def cost(stills: int, frames: int, jobs: int, **look) -> Cost:
    return cost_of_spec(stills, frames, jobs, spec_of(stills, 0, 0, 0, **look))


def test_cost_goes_with_the_pictures_and_is_shared_by_processes():
    one, two = cost(1000, 0, 1), cost(2000, 0, 1)
    assert two.disk_bytes == 2 * one.disk_bytes
    assert one.seconds < two.seconds < 2 * one.seconds
    assert cost(2000, 0, 4).seconds < two.seconds / 3
    assert cost(0, 100, 1).disk_bytes < cost(100, 0, 1).disk_bytes
    several = cost(1000, 0, 1, format="packed", pictures_per_person=8)
    assert several.disk_bytes < one.disk_bytes / 6
    assert several.seconds < one.seconds


@pytest.mark.parametrize(
    ("pictures", "said"),
    [(0, "about 20 s and 0.01 GB on disk"), (600, r"about \d+ min and"), (50_000, r"about \d+\.\d h")],
)
def test_cost_is_said_in_fitting_units(pictures, said):
    import re

    assert re.match(said, str(cost(pictures, 0, 1)))


def test_room_is_looked_for_where_the_folder_will_be(tmp_path):
    check_room(tmp_path / "not/yet/there", 10**6)
    with pytest.raises(DataError, match=r"there: the disk has .* GB free, .* GB are needed; choose another disk"):
        check_room(tmp_path / "not/yet/there", 10**18)
