import argparse
import subprocess
import sys

import pytest

from hdnet.cli import VERBS, main
from hdnet.cli.commands import add_parameter
from hdnet.params import CorrespondParams, DataParams, RuntimeParams


def places(verbs, path=()):
    for name, (_, *place) in verbs.items():
        if len(place) == 1:
            yield from places(place[0], (*path, name))
        else:
            yield (*path, name)


@pytest.mark.parametrize("words", list(places(VERBS)), ids=" ".join)
def test_every_verb_has_a_module_and_shows_its_options(words, capsys):
    with pytest.raises(SystemExit) as stop:
        main([*words, "--help"])
    assert stop.value.code == 0
    assert f"usage: hdnet {' '.join(words)} [-h]" in capsys.readouterr().out


def test_help_of_a_group_imports_no_room():
    script = (
        "import sys; from hdnet.cli import main\n"
        "try: main(['data', '--help'])\n"
        "finally: sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "synthesize" in done.stdout


@pytest.mark.parametrize(
    ("section", "name", "words", "value"),
    [
        (CorrespondParams, "partners", ["--partners", "2"], 2),
        (CorrespondParams, "partners", [], 4),
        (CorrespondParams, "max_turn_deg", ["--max-turn-deg", "30"], 30.0),
        (CorrespondParams, "max_turn_deg", [], None),
        (CorrespondParams, "mutual", ["--mutual"], True),
        (CorrespondParams, "mutual", [], False),
        (DataParams, "camera", ["--camera", "reference"], "reference"),
        (DataParams, "focal_px", ["--focal-px", "300", "310.5"], [300.0, 310.5]),
        (RuntimeParams, "devices", ["--devices", "auto"], "auto"),
        (RuntimeParams, "devices", ["--devices", "2"], 2),
    ],
)
def test_an_option_has_the_type_and_default_of_its_declaration(section, name, words, value):
    parser = argparse.ArgumentParser()
    add_parameter(parser, section, name)
    assert getattr(parser.parse_args(words), name) == value


def test_an_option_has_the_choices_and_meaning_of_its_declaration(capsys):
    parser = argparse.ArgumentParser()
    add_parameter(parser, CorrespondParams, "mutual")
    add_parameter(parser, DataParams, "masks", "--outlines")
    assert "12 to 25 % are lost" in " ".join(parser.format_help().split())
    assert "--outlines {exact,segmenter}" in parser.format_help()
    with pytest.raises(SystemExit):
        parser.parse_args(["--outlines", "soft"])
    assert "invalid choice" in capsys.readouterr().err
