"""Commands that install extras, in a clone and with an installed wheel."""

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from hdnet import extras

ROOT = Path(__file__).parents[1]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


def test_a_clone_installs_its_own_extra():
    words = shlex.split(extras.install_command("serve"))
    assert words[:2] == ["pip", "install"]
    assert words[-2:] == ["-e", f"{ROOT}[serve]"]


def metadata() -> list[str]:
    """Requirements as a wheel states them."""
    found = []
    for extra, lines in EXTRAS.items():
        for requirement in map(Requirement, lines):
            condition = f"({requirement.marker}) and " if requirement.marker else ""
            found.append(f"{str(requirement).partition(';')[0]}; {condition}extra == '{extra}'")
    return found


@pytest.mark.parametrize("extra", sorted(EXTRAS))
def test_a_wheel_names_the_packages(extra: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(extras, "_CLONE", tmp_path)
    monkeypatch.setattr(extras, "requires", lambda _: metadata())
    words = shlex.split(extras.install_command(extra))
    assert words[:2] == ["pip", "install"]
    named = {Requirement(word).name for word in words[2:]}
    assert named
    assert "hdnet" not in named
    own = {
        r.name for r in map(Requirement, EXTRAS[extra]) if r.name != "hdnet" and (not r.marker or r.marker.evaluate())
    }
    assert own <= named


def test_included_extras_are_followed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(extras, "_CLONE", tmp_path)
    monkeypatch.setattr(extras, "requires", lambda _: ["numpy", "hdnet[b]; extra == 'a'", "x>1; extra == 'b'"])
    assert extras.install_command("a") == "pip install 'x>1'"
    assert extras.install_command("c") == "see extra 'c' in pyproject.toml"


def test_no_text_tells_to_install_the_name_from_an_index():
    """The name belongs to another package there; texts take :func:`hdnet.extras.install_command`, pages the clone's."""
    places = [ROOT / name for name in ("hdnet", "serving", "pipelines", "docs", "README.md")]
    files = [file for place in places for file in ([place] if place.is_file() else place.rglob("*"))]
    for file in (file for file in files if file.suffix in (".py", ".md")):
        assert not re.search(r"pip install ['\"]?hdnet\b", file.read_text(encoding="utf-8")), file


def test_every_extra_that_a_message_names_exists():
    for file in [*(ROOT / "hdnet").rglob("*.py"), *(ROOT / "serving").rglob("*.py")]:
        for extra in re.findall(r"install_command\(\"([a-z0-9-]+)\"\)", file.read_text(encoding="utf-8")):
            assert extra in EXTRAS, (file, extra)


def test_the_command_line_of_a_missing_package_is_short():
    code = "from hdnet.extras import install_command; print(install_command('video'))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.count("\n") == 1
