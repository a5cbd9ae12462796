"""`docs/dvc_plots.py`: charts of `dvc plots show` in a browser without a network."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "docs/dvc_plots.py"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here; `apt-get install chromium`")
def test_charts_open_without_the_web(tmp_path: Path) -> None:
    playwright = pytest.importorskip("playwright.sync_api")

    def run(*command: str) -> None:
        subprocess.run([sys.executable, *command], cwd=tmp_path, check=True, capture_output=True)

    run("-m", "dvc", "init", "--no-scm", "--quiet")
    (tmp_path / "curves.csv").write_text("step,loss\n" + "".join(f"{step},{1 / (1 + step)}\n" for step in range(20)))
    run(str(SCRIPT), "template")
    run("-m", "dvc", "plots", "show", "curves.csv", "-x", "step", "-y", "loss")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        context = browser.new_context(offline=True)
        page, asked = context.new_page(), []
        page.on("request", lambda request: asked.append(request.url))
        page.goto((tmp_path / "dvc_plots/index.html").as_uri(), timeout=120_000)
        page.locator("svg.marks").wait_for(timeout=60_000)
        lines = page.locator("svg.marks .mark-line path").evaluate_all(
            "lines => lines.map(line => line.getAttribute('d'))"
        )
        browser.close()
    assert any(line.count("L") == 19 for line in lines), "the curve of 20 steps is not drawn"
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
