import json
from pathlib import Path

import numpy as np
import pytest
from dolls import CAMERA, doll, doll_frame
from PIL import Image

from hdnet.cli import main
from hdnet.data.checks.findings import Finding, Report
from hdnet.data.checks.report import summary, to_markdown, write_report
from hdnet.data.checks.sheet import choose_worst, worst_sheet
from hdnet.data.checks.validate import validate_any, validate_tang
from hdnet.data.layout.folders import TangFolder, TikTokFolder
from hdnet.data.layout.png import write_png
from hdnet.data.layout.text import write_map
from hdnet.errors import DataError

NAMES = ["0000000", "0000001"]


def test_a_text_is_what_was_found_what_was_expected_and_a_remedy():
    finding = Finding.of(Path("mask/1.png"), "size", "8 x 8; odd; expected 16 x 16; crop it; or drop it")
    assert (finding.found, finding.expected, finding.fix) == ("8 x 8; odd", "16 x 16", "crop it; or drop it")
    assert str(finding) == "mask/1.png: 8 x 8; odd; expected 16 x 16; crop it; or drop it"
    assert (finding.kind, finding.frame) == ("size", "1")


@pytest.fixture
def raw(tmp_path):
    people, frames = TangFolder(tmp_path / "raw/Tang_data"), TikTokFolder(tmp_path / "raw/tiktok_data")
    for seed, name in enumerate(NAMES):
        people.write(doll(name, seed))
        frames.write(doll_frame(name, "a", seed))
    people.write_meta(dict.fromkeys(NAMES, CAMERA))
    frames.write_meta(dict.fromkeys(NAMES, CAMERA), {"a": NAMES})
    return tmp_path / "raw"


def finding(number, kind="IUV channels"):
    return Finding(f"densepose/{number:07d}.png", "values up to 255", "V, U, I", "reorder them", kind)


def many():
    errors = [finding(k) for k in range(8)] + [finding(20, "IUV scale")]
    warnings = [Finding("hdnet.json", "file is missing", "a camera", "write it", "camera")]
    statistics = {
        "normal_angle_deg": {"mean": 5.0, "min": 3.0, "max": 9.0, "worst": "0000007"},
        "fitted_focal_ratio": 1,
    }
    return Report("data/raw/Tang_data", 30, errors, warnings, statistics)


def test_many_findings_of_one_kind_are_five_lines_and_a_count():
    lines = summary(many())
    assert [severity for severity, _ in lines] == ["warning"] + ["error"] * 7
    assert "hdnet.json: file is missing" in lines[0][1]
    assert lines[5][1].startswith("densepose/0000004.png: values up to 255; expected V, U, I; reorder them")
    assert lines[6][1] == "and 3 more of this kind (IUV channels)"
    assert "0000020" in lines[7][1]


def test_worst_frames_are_the_first_of_each_kind_then_the_ends_of_the_statistics():
    chosen = choose_worst(many())
    assert [worst.frame for worst in chosen] == ["0000000", "0000020", "0000007"]
    assert chosen[0].reasons == [("error", "IUV channels: densepose/0000000.png values up to 255")]
    assert chosen[2].reasons == [("", "largest normal_angle_deg of the folder: 9")]
    assert len(choose_worst(many(), frames=1)) == 1


def test_markdown_says_what_where_and_how_to_fix_it():
    text = to_markdown({"labelled": many()})
    assert "| labelled (`data/raw/Tang_data`) | 30 | 9 | 1 |" in text
    assert "**IUV channels** (8)" in text
    assert "- `densepose/0000000.png`: values up to 255; expected V, U, I. *reorder them*" in text
    assert text.count("densepose/") == 6
    assert "- and 3 more" in text
    assert "| normal_angle_deg | 5 | 3 | 9 | 0000007 | mean angle between" in text


def test_report_of_correct_folders(raw, tmp_path):
    findings, text, picture = write_report(tmp_path / "a/report", validate_any(raw))
    content = json.loads(findings.read_text())
    assert {name: len(report["errors"]) for name, report in content.items()} == {"labelled": 0, "frames": 0}
    assert "Errors: none." in text.read_text()
    with Image.open(picture) as sheet:
        assert sheet.width > 1000


def test_findings_json_is_complete(tmp_path):
    report = Report(str(tmp_path), 0, [finding(k) for k in range(40)], [])
    findings, _, _ = write_report(tmp_path / "report", {"x": report})
    assert len(json.loads(findings.read_text())["x"]["errors"]) == 40


def test_sheet_shows_broken_frames_too(raw):
    people = TangFolder(raw / "Tang_data")
    people.png("mask", "0000000").write_text("text")
    people.png("densepose", "0000001").unlink()
    write_map(people.depth_file("0000001"), np.zeros((3, 3)), ",")
    people.normal_files("0000001")[2].unlink()
    (raw / "Tang_data/hdnet.json").write_text("{")
    report = validate_tang(people.root)
    assert {worst.frame for worst in choose_worst(report)} == set(NAMES)
    sheet = worst_sheet({"labelled": report})
    # Red captions, and grey panels for what cannot be read.
    assert (sheet == (185, 28, 28)).all(-1).sum() > 200
    assert (sheet == (225, 225, 228)).all(-1).sum() > 5 * 150 * 150


def test_sheet_of_an_empty_folder_is_a_caption(tmp_path):
    sheet = worst_sheet({"labelled": validate_tang(tmp_path / "nowhere")})
    assert sheet.shape[0] < 200
    assert sheet.dtype == np.uint8


def test_the_sheet_shows_where_parts_miss_the_mask(raw):
    frames = TikTokFolder(raw / "tiktok_data")
    file = frames.png("densepose", "0000001")
    write_png(file, np.ascontiguousarray(np.asarray(Image.open(file))[:, ::-1]))
    sheet = worst_sheet(validate_any(frames.root))
    assert (sheet == (196, 38, 152)).all(-1).sum() > 1000


def test_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="file/report: the report cannot be written"):
        write_report(tmp_path / "file/report", {"x": many()})


def test_command_reports_and_fails_on_errors_only(raw, tmp_path, capsys):
    (raw / "tiktok_data/hdnet.json").unlink()
    main(["data", "validate", str(raw), "--report", str(tmp_path / "report"), "--json", str(tmp_path / "f.json")])
    printed = capsys.readouterr().out
    assert f"{raw}/Tang_data: 2 samples, no errors, 0 warnings" in printed
    assert f"warning: {raw}/tiktok_data/hdnet.json: file is missing; the original's camera is assumed" in printed
    assert json.loads((tmp_path / "f.json").read_text()) == json.loads((tmp_path / "report/findings.json").read_text())

    (raw / "Tang_data/mask/0000001.png").write_text("text")
    with pytest.raises(SystemExit) as stop:
        main(["data", "validate", str(raw), "--report", str(tmp_path / "report")])
    message = str(stop.value)
    assert message.startswith(f"error: {raw}/Tang_data/mask/0000001.png: is not a PNG picture")
    assert message.endswith(f"all findings are in {tmp_path}/report/report.md")
    assert f"error: {raw}/Tang_data/mask/0000001.png" in capsys.readouterr().out
    assert "Errors" in (tmp_path / "report/report.md").read_text()
