"""Charts of the page of `dvc plots show` or `dvc plots diff`, side by side in one picture.

    dvc plots diff HEAD workspace
    python docs/dvc_plots.py docs/dvc_convergence.png reports_train_hdnet_curves_csv reports_train_hdnet_validation_csv

Needs Chromium and the dependency group `test`. The page loads Vega from the web; `--vega FOLDER` takes it from a folder
with `npm install vega@5 vega-lite@5 vega-embed@6`.
"""

from __future__ import annotations

import argparse
import io
import re
import shutil
from pathlib import Path

from PIL import Image
from playwright.sync_api import Route, sync_playwright

_CDN = re.compile(r"https://cdn\.jsdelivr\.net/npm/([\w-]+)@")
_SCALE = 2


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("picture", type=Path, help="PNG file to write")
    parser.add_argument("charts", nargs="+", help="ids of the charts: names with _ for other characters")
    parser.add_argument("--page", type=Path, default=Path("dvc_plots/index.html"))
    parser.add_argument("--vega", type=Path, help="folder with Vega's node_modules")
    arguments = parser.parse_args()
    charts = screenshots(arguments.page, arguments.charts, arguments.vega)
    sheet = Image.new("RGB", (sum(chart.width for chart in charts), max(chart.height for chart in charts)), "white")
    left = 0
    for chart in charts:
        sheet.paste(chart, (left, 0))
        left += chart.width
    # Few colours: a tenth of the bytes.
    sheet.resize((sheet.width // _SCALE, sheet.height // _SCALE), Image.Resampling.LANCZOS).quantize(64).save(
        arguments.picture, optimize=True
    )


def screenshots(page_file: Path, charts: list[str], vega: Path | None) -> list[Image.Image]:
    """Return the charts as drawn by a browser."""

    def from_folder(route: Route) -> None:
        name = _CDN.match(route.request.url)
        script = vega / "node_modules" / name[1] / "build" / f"{name[1]}.min.js" if vega and name else None
        if script is None:
            route.continue_()
        else:
            route.fulfill(path=script, content_type="text/javascript")

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport={"width": 1400, "height": 900}, device_scale_factor=_SCALE)
        page.route(_CDN, from_folder)
        page.goto(page_file.absolute().as_uri())
        pictures = []
        for chart in charts:
            canvas = page.locator(f"#{chart} canvas")
            canvas.wait_for(timeout=20_000)
            page.wait_for_timeout(500)
            pictures.append(Image.open(io.BytesIO(canvas.screenshot())).convert("RGB"))
        browser.close()
    return pictures


if __name__ == "__main__":
    main()
