"""The page of `dvc plots show` and `dvc plots diff`: with Vega inside, and as pictures.

    python docs/dvc_plots.py template       # once in a clone: from then on the page needs no network
    dvc plots diff HEAD workspace
    python docs/dvc_plots.py picture docs/dvc_convergence.png reports_train_hdnet_curves_csv

`template` takes Vega from the package vl-convert-python, writes a template into `.dvc/tmp` and names it in
`.dvc/config.local`. `picture` puts charts side by side; it needs Chromium and the dependency group `test`.
"""

from __future__ import annotations

import argparse
import io
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

_SCALE = 2
_TEMPLATE = "tmp/plots.html"  # in the folder .dvc, below which DVC looks for it
# DVC's own page, but for its `{scripts}`, which load Vega from the web. Vega's many names stay in a function: the
# charts' scripts declare global ones.
_PAGE = """<!DOCTYPE html>
<html>
<head>
<meta charset="utf-8">
{{refresh_tag}}
<title>DVC charts</title>
<script>(() => {{ {vega} }})();</script>
<style>table {{ border-spacing: 15px; }}</style>
</head>
<body>
{{plot_divs}}
</body>
</html>
"""


def main() -> None:
    """Run a command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("template", help="put Vega into the page")
    picture = commands.add_parser("picture", help="charts of the page as a PNG")
    picture.add_argument("picture", type=Path, help="PNG file to write")
    picture.add_argument("charts", nargs="+", help="ids of the charts: names with _ for other characters")
    picture.add_argument("--page", type=Path, default=Path("dvc_plots/index.html"))
    arguments = parser.parse_args()
    if arguments.command == "template":
        write_template(Path(".dvc"))
    else:
        write_picture(arguments.picture, screenshots(arguments.page, arguments.charts))


def write_template(dvc_dir: Path) -> Path:
    """Write the template into a repository of DVC, and set it there.

    Args:
        dvc_dir: The repository's folder `.dvc`.

    Returns:
        The template.
    """
    import vl_convert  # of the extra `pipeline`; pictures are made without it

    template = dvc_dir / _TEMPLATE
    template.parent.mkdir(parents=True, exist_ok=True)
    vega = vl_convert.javascript_bundle(vl_version="5.8")
    template.write_text(_PAGE.format(vega=vega), encoding="utf-8")
    command = [sys.executable, "-m", "dvc", "config", "--local", "plots.html_template", _TEMPLATE]
    subprocess.run(command, cwd=dvc_dir.parent, check=True)
    return template


def write_picture(path: Path, charts: list[Image.Image]) -> None:
    """Write charts side by side."""
    from PIL import Image

    sheet = Image.new("RGB", (sum(chart.width for chart in charts), max(chart.height for chart in charts)), "white")
    left = 0
    for chart in charts:
        sheet.paste(chart, (left, 0))
        left += chart.width
    # Few colours: a tenth of the bytes.
    sheet.resize((sheet.width // _SCALE, sheet.height // _SCALE), Image.Resampling.LANCZOS).quantize(64).save(
        path, optimize=True
    )


def screenshots(page_file: Path, charts: list[str]) -> list[Image.Image]:
    """Return the charts as drawn by a browser."""
    from PIL import Image
    from playwright.sync_api import sync_playwright  # of the group `test`

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport={"width": 1400, "height": 900}, device_scale_factor=_SCALE)
        page.goto(page_file.absolute().as_uri())
        pictures = []
        for chart in charts:
            drawing = page.locator(f"#{chart} .marks")  # an SVG, or with other versions of Vega a canvas
            drawing.wait_for(timeout=20_000)
            page.wait_for_timeout(500)
            pictures.append(Image.open(io.BytesIO(drawing.screenshot())).convert("RGB"))
        browser.close()
    return pictures


if __name__ == "__main__":
    main()
