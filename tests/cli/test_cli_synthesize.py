import json

import pytest
from PIL import Image

from hdnet.cli import main
from hdnet.params.overlay import preset_params
from hdnet.synthetic import SyntheticSpec
from hdnet.synthetic.export import SynthesisCounts


@pytest.fixture
def asked(monkeypatch) -> list[SyntheticSpec]:
    """What would have been made."""
    specs = []

    def synthesize(out, spec, jobs, progress):
        specs.append(spec)
        return SynthesisCounts(spec.people, spec.sequences, spec.sequences * spec.frames_per_sequence)

    monkeypatch.setattr("hdnet.synthetic.synthesize", synthesize)
    return specs


@pytest.mark.parametrize(
    ("options", "amounts"),
    [
        ("", (280, 4, 12)),
        ("--size standard", (2000, 60, 24)),
        ("--size large --people 100", (100, 1000, 24)),
        ("--size standard --sequences 0 --frames 8", (2000, 0, 8)),
        ("--people 5", (5, 0, 12)),
        ("--sequences 3 --frames 20", (0, 3, 20)),
    ],
)
def test_amounts_follow_the_size_and_the_options(asked, tmp_path, capsys, options, amounts):
    main(["data", "synthesize", "--out", str(tmp_path / "out"), *options.split()])
    assert (asked[0].people, asked[0].sequences, asked[0].frames_per_sequence) == amounts
    assert json.loads(capsys.readouterr().out)["stills"] == amounts[0]


def test_options_reach_the_generator(asked, tmp_path):
    line = "--people 1 --seed 9 --focal-px 300 310 --camera reference --size standard"
    main(["data", "synthesize", "--out", str(tmp_path / "out"), *line.split()])
    assert (asked[0].seed, asked[0].focal_px, asked[0].camera) == (9, (300.0, 310.0), "reference")
    main(["data", "synthesize", "--out", str(tmp_path / "out"), "--size", "large"])
    assert asked[1].focal_px == preset_params("large").data.focal_px


@pytest.mark.parametrize("size", ["demo", "standard", "large"])
def test_people_are_cut_and_hidden_alike_in_every_size(asked, tmp_path, size):
    main(["data", "synthesize", "--out", str(tmp_path / "out"), "--size", size])
    assert (asked[0].truncated, asked[0].occluded) == (0.4, 0.12)
    main(["data", "synthesize", "--out", str(tmp_path / "out"), "--size", size, "--truncated", "0.2"])
    assert (asked[1].truncated, asked[1].occluded) == (0.2, 0.12)


@pytest.mark.parametrize(("options", "processes"), [("", 3), ("--jobs 0", 3), ("--jobs 2", 2)])
def test_processes_are_one_a_core_unless_told(monkeypatch, tmp_path, options, processes):
    found = []

    def synthesize(out, spec, jobs, progress):
        found.append(jobs)
        return SynthesisCounts(0, 0, 0)

    monkeypatch.setattr("hdnet.synthetic.synthesize", synthesize)
    monkeypatch.setattr("hdnet.data.parallel.cores", lambda: 3)
    main(["data", "synthesize", "--out", str(tmp_path / "out"), *options.split()])
    assert found == [processes]


def test_fewer_processes_than_none_are_refused(asked, tmp_path):
    with pytest.raises(SystemExit, match="--jobs -1: expected a number of processes"):
        main(["data", "synthesize", "--out", str(tmp_path / "out"), "--jobs", "-1"])
    assert not asked


def test_sheets_are_written(asked, monkeypatch, tmp_path):
    sheets = {name: Image.new("RGB", (4, 3)) for name in ("contact_sheet.png", "sequences.png")}
    monkeypatch.setattr("hdnet.synthetic.raw.contact_sheets", lambda _: sheets)
    main(["data", "synthesize", "--out", str(tmp_path / "out"), "--contact-sheet", str(tmp_path / "looks/sheet.png")])
    assert {file.name for file in (tmp_path / "looks").iterdir()} == {"sheet.png", "sheet-sequences.png"}
