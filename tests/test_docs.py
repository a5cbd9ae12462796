"""README and docs: their length, links, commands, paths and parameters."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from functools import cache
from pathlib import Path

import pytest
import yaml

from hdnet.cli import main

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = [
    README,
    *sorted((ROOT / "docs").glob("*.md")),
    *(ROOT / f"{name}/README.md" for name in ("benchmarks", "own_data", "pretrained")),
]
# Tags of MLflow that look like parameters.
TAGS = {"model.name", "model.version", "data.heldout"}
PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text())
by_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def blocks(page: Path) -> list[str]:
    """Contents of the fenced code blocks without a language, which are shell commands or files."""
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
    return [content for language, content in fenced if not language]


def prose(page: Path) -> str:
    return re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def inline_code(page: Path) -> list[str]:
    return [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", prose(page))]


def commands(page: Path, program: str) -> list[list[str]]:
    """Words of every command of a program in code blocks and inline code, without comments and redirections."""
    lines = [line for block in blocks(page) for line in block.replace("\\\n", " ").splitlines()] + inline_code(page)
    parts = [part.strip() for line in lines for part in re.split(r"&&|;|\| ", re.sub(r"\s#.*", "", line))]
    found = [re.sub(r"^(torchrun .*--no-python|([A-Z_]+=\S+ ?)+) ", "", part) for part in parts]
    return [shlex.split(part)[1:] for part in found if re.match(rf"{program} [^/=:]", part)]


def anchors(page: Path) -> set[str]:
    """Names that GitHub gives to the headings."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@cache
def help_of(*verbs: str) -> str:
    """The help of a verb of ``hdnet``; fails if there is no such verb."""
    text = io.StringIO()
    with contextlib.redirect_stdout(text), contextlib.redirect_stderr(text), pytest.raises(SystemExit) as end:
        main([*verbs, "--help"])
    assert end.value.code == 0, f"hdnet {' '.join(verbs)}: {text.getvalue()}"
    return text.getvalue()


def test_the_readme_is_short() -> None:
    assert len(README.read_text().splitlines()) <= 120


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs/README.md").read_text()
    for page in (ROOT / "docs").glob("*.md"):
        assert page.name == "README.md" or f"({page.name})" in index, page.name


@by_page
def test_relative_links_lead_to_a_file_and_a_heading(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"https?:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@by_page
def test_commands_have_verbs_and_options_that_exist(page: Path) -> None:
    for words in commands(page, "hdnet"):
        options = {word.partition("=")[0] for word in words if word.startswith("--")}
        first = next((index for index, word in enumerate(words) if word.startswith("-")), len(words))
        known = help_of(*words[:first])
        assert options <= set(re.findall(r"--[a-z0-9-]+", known)) | {"--help"}, words


@by_page
def test_targets_of_make_exist(page: Path) -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for words in commands(page, "make"):
        assert next(word for word in words if "=" not in word) in targets, words


@by_page
def test_paths_in_the_repository_exist(page: Path) -> None:
    for code in [*inline_code(page), *blocks(page)]:
        for path in re.findall(r"(?<![\w./-])(?:hdnet|serving|pipelines|tests|benchmarks|docs)/[\w./]+", code):
            assert (ROOT / path).exists(), path


@by_page
def test_parameters_in_the_text_exist(page: Path) -> None:
    for code in inline_code(page):
        name, _, _ = code.partition(":")
        section, _, rest = name.partition(".")
        if (
            section not in PARAMS
            or name in TAGS
            or not re.fullmatch(r"[a-z_0-9.]+", rest)
            or rest.endswith((".py", "csv", "md"))
        ):
            continue
        value = PARAMS
        for key in name.split("."):
            assert key in value, name
            value = value[key]


def test_numbers_that_the_code_cites_are_in_the_list_of_peculiarities() -> None:
    page = (ROOT / "docs/parity.md").read_text()
    (table,) = re.findall(r"^## The original's peculiarities, by number\n(.*?)^## ", page, re.MULTILINE | re.DOTALL)
    listed = set(re.findall(r"^\| (\d+) \|", table, re.MULTILINE))
    files = [path for room in ("hdnet", "serving", "tests", "benchmarks") for path in (ROOT / room).rglob("*")]
    texts = [path.read_text() for path in files if path.suffix in (".py", ".yaml") and path != Path(__file__)]
    cited = re.findall(r"docs/parity\.md, (\d+(?:(?:,| and| to) \d+)*)", re.sub(r"[\s#]+", " ", "\n".join(texts)))
    assert cited
    assert {number for group in cited for number in re.findall(r"\d+", group)} <= listed
