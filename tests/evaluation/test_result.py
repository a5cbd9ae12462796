"""What the result says: means, intervals, ranks, files."""

import csv
import io
import json

import numpy as np
import pytest

from hdnet.errors import DataError, InputError
from hdnet.evaluation import EvaluationResult
from hdnet.evaluation.confidence import bootstrap_mean
from hdnet.evaluation.sheets import chosen_people, error_picture
from hdnet.evaluation.writing import errors_csv, report_markdown, write_evaluation


def result(errors_mm=(10.0, 40.0, 20.0, 30.0)):
    names = tuple(f"{k:07d}" for k in range(len(errors_mm)))
    rows = tuple(
        {
            "model": {
                "depth_mae_mm": e,
                "depth_abs_rel": e / 4000,
                "normal_mean_deg": e / 2,
                "normal_below_30_pct": 90 - e,
            },
            "flat_plane": {"depth_mae_mm": 50.0, "depth_abs_rel": 0.0},
            "camera_facing": {"normal_mean_deg": 30.0},
        }
        for e in errors_mm
    )
    groups = tuple({"part_head": {"depth_mae_mm": e, "share_pct": 10.0}} for e in errors_mm[:-1])
    groups += ({"view_00_30": {"depth_mae_mm": 5.0, "share_pct": 40.0, "normal_mean_deg": 7.0}},)
    return EvaluationResult(names, rows, "ab" * 32, groups, ("Made up.",))


def test_json_gives_all_of_it_back():
    assert EvaluationResult.from_json(result().to_json()) == result()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": "other"}', '{"format": "hdnet-evaluation", "rows": []}'])
def test_other_json_is_refused(text):
    with pytest.raises(DataError, match=r"not the JSON of an evaluation \(.*; run `hdnet evaluate` again"):
        EvaluationResult.from_json(text)


def test_flat_metrics_by_hand():
    flat = result().metrics()

    interval = bootstrap_mean(np.array([10.0, 40.0, 20.0, 30.0]))
    assert flat["model/depth_mae_mm"] == 25
    assert flat["model/depth_mae_mm/low"] == interval.low < 25 < flat["model/depth_mae_mm/high"] == interval.high
    assert flat["improvement/depth_mae_mm"] == pytest.approx(0.5)
    assert "improvement/depth_abs_rel" not in flat  # the baseline's is 0
    assert flat["model/depth_mae_mm/part_head"] == pytest.approx(70 / 3)
    assert flat["model/normal_mean_deg/view_00_30"] == 7
    assert result().breakdown["part_head"] == pytest.approx({"depth_mae_mm": 70 / 3, "share_pct": 10, "samples": 3})


def test_json_has_what_the_tables_say():
    document = json.loads(result().to_json())

    assert document["interval_95"]["model"]["depth_mae_mm"] == [
        result().metrics()["model/depth_mae_mm/low"], result().metrics()["model/depth_mae_mm/high"],
    ]  # fmt: skip
    assert document["breakdown"] == result().breakdown


def test_report_has_intervals_groups_and_notes():
    text = report_markdown(result())
    lines = {
        line.split("|")[1].strip(): [c.strip() for c in line.split("|")[2:-1]]
        for line in text.splitlines()
        if "|" in line
    }

    low, high = (result().metrics()[f"model/depth_mae_mm/{end}"] for end in ("low", "high"))
    assert lines["depth MAE (mm)"] == ["25.0", f"{low:.1f} to {high:.1f}", "25.0", "10.0", "40.0"]
    assert lines["< 30° (%)"][-2:] == ["80.0", "50.0"]  # the best is the largest
    assert lines["head"] == ["10.0", "23.3", "", "3"]
    assert lines["seen under 0 to 30°"] == ["40.0", "5.0", "7.0", "1"]
    assert "Made up." in text
    assert "Measured on 4 people, SHA-256 `abababababababab`." in text


def test_report_has_groups_of_pictures_where_their_facts_are_known():
    facts = np.array([("sun",), ("window",), ("sun",), ("window",)], [("light", "U6")])
    text = report_markdown(result(), facts)
    assert "| light | sun | 2 | 15.0 |" in text  # 10 and 20
    assert "| light | window | 2 | 35.0 |" in text  # 40 and 30
    assert "light" not in report_markdown(result())


def test_csv_has_a_line_a_sample():
    lines = list(csv.DictReader(io.StringIO(errors_csv(result()))))

    assert [line["sample"] for line in lines] == list(result().names)
    assert [float(line["depth_mae_mm"]) for line in lines] == [10, 40, 20, 30]


def test_unwritable_folder(tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(InputError, match=r"file/out: cannot be written \(Not a directory\)"):
        write_evaluation(tmp_path / "file/out", result(), np.zeros((4, 4, 3), np.uint8))


@pytest.mark.parametrize(
    ("count", "bands"),
    [
        (1, {"all": [0]}),
        (3, {"best": [0], "median": [1], "worst": [2]}),
        (9, {"best": [0, 1, 2], "median": [3, 4, 5], "worst": [6, 7, 8]}),
        (21, {"best": [0, 1, 2], "median": [9, 10, 11], "worst": [18, 19, 20]}),
    ],
)
def test_best_median_and_worst(count, bands):
    assert chosen_people(result(tuple(float(k) for k in range(count)))) == bands


@pytest.mark.parametrize("count", range(1, 30))
def test_nobody_is_shown_twice(count):
    shown = [k for band in chosen_people(result(tuple(float(k) for k in range(count)))).values() for k in band]

    assert len(shown) == len(set(shown)) == len(set(shown) & set(range(count)))
    assert {0, count - 1} <= set(shown)


def test_colours_of_errors():
    found = error_picture(np.array([[0.0, 60.0, 500.0, 5.0]]), np.array([[1, 1, 1, 0]], bool), white_at=60.0)

    assert found[0, 0].max() < 15
    assert (found[0, 1] == 255).all()
    assert (found[0, 2] == 255).all()
    assert found[0, 3].tolist() == [214, 226, 240]
