import numpy as np
import pytest
from dolls import doll

from hdnet.data.checks.charts import read_charts
from hdnet.synthetic import iuv as synthetic_iuv

IUV = doll().iuv


def test_a_correct_picture_agrees_in_everything():
    charts = read_charts(IUV)
    assert min(charts.limbs, charts.centre, charts.along) > 0.9
    assert charts.parts == 8
    assert charts.fault() == ""


def test_nothing_is_said_of_nothing():
    assert read_charts(np.zeros((8, 8, 3), dtype=np.uint8)).fault() == ""
    arm = np.where(IUV[..., :1] == 16, IUV, np.uint8(0))
    assert read_charts(arm[:, ::-1]).fault() == ""


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda iuv: iuv[:, ::-1], "mirrored"),
        (lambda iuv: iuv[::-1], "mirrored"),
        (lambda iuv: iuv[..., [0, 2, 1]], "exchanged"),
        (lambda iuv: np.rot90(iuv), ""),
        (lambda iuv: iuv[:, ::-1][..., [0, 2, 1]], ""),
    ],
    ids=["left to right", "top to bottom", "U and V", "quarter turn", "both, which turns the right way again"],
)
def test_faults(change, fault):
    assert read_charts(np.ascontiguousarray(change(IUV))).fault() == fault


def test_synthetic_people_count_as_many_parts():
    assert synthetic_iuv.PART_COUNT == 24
