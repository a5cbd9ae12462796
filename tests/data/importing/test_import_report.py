import json

from hdnet.data.importing.report import ImportReport, Outcome

MILLIMETRES = "/in/depth/{}.txt: median depth is {}; expected metres"


def report():
    outcomes = [
        Outcome("a/1", "0000000", notes=("normals computed from depth",)),
        Outcome("a/2", "0000001", notes=("normals computed from depth", "alpha dropped")),
        *(Outcome(f"a/{k}", None, MILLIMETRES.format(k, 2000.5 + k)) for k in range(3, 8)),
        Outcome("a/9", None, "/in/mask/9.png: the mask is empty"),
    ]
    return ImportReport("archive", "/in", "/out", outcomes, {"camera": "assumed", "held out": ["0000001"]})


def test_outcomes_survive_json():
    for outcome in report().outcomes:
        assert Outcome.from_dict(json.loads(json.dumps(outcome.to_dict()))) == outcome


def test_taken_and_refused_are_told_apart_and_counted():
    content = json.loads(json.dumps(report().to_dict()))
    assert content["counts"] == {"items": 8, "taken": 2, "refused": 6}
    assert [entry["source"] for entry in content["refused"]] == ["a/3", "a/4", "a/5", "a/6", "a/7", "a/9"]
    assert content["notes"] == {"normals computed from depth": 2, "alpha dropped": 1}
    assert content["extra"]["camera"] == "assumed"


def test_the_table_groups_refusals_that_differ_in_file_and_number_only():
    table = report().to_table()
    lines = [" ".join(line.split()) for line in table.splitlines()]
    assert lines[0] == "archive: /in -> /out"
    assert "taken 2" in lines
    assert "refused 6" in lines
    assert "5 " + MILLIMETRES.format(3, 2003.5) in lines
    assert "in a/3, a/4, a/5 and 2 more" in lines
    assert "1 /in/mask/9.png: the mask is empty" in lines
    assert "note 2 normals computed from depth" in lines
    assert "held out: 1: 0000001" in lines
    assert table.count("median depth") == 1


def test_reasons_of_different_kind_stay_apart():
    outcomes = [Outcome("1", None, "/a.png: 16 bits"), Outcome("2", None, "/b.png: is no PNG"), Outcome("3", "0000000")]
    table = ImportReport("x", "s", "o", outcomes).to_table()
    assert "16 bits" in table
    assert "is no PNG" in table
