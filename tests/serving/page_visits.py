"""Visits to the page in headless Chromium."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import serving

BUSY_S = 240  # longest wait for anything, on a machine that does much else
SAMPLE = Path(serving.__file__).parent / "page/sample"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--enable-unsafe-swiftshader",  # WebGL without a GPU
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]

PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True, "device_scale_factor": 2}


@dataclass
class Visit:
    """A tab with the page open, and what it did."""

    page: Any
    errors: list[str] = field(default_factory=list)
    addresses: list[str] = field(default_factory=list)


@contextmanager
def visiting(browser: Any, address: str, **options: Any) -> Iterator[Visit]:
    page = browser.new_page(**{"viewport": {"width": 1280, "height": 1100}, **options})
    page.set_default_timeout(1000 * BUSY_S)
    visited = Visit(page)
    page.on("pageerror", lambda error: visited.errors.append(str(error)))
    page.on("request", lambda request: visited.addresses.append(request.url))
    page.goto(address)
    yield visited
    page.close()


def compute_sample(page: Any) -> None:
    page.locator("#options").evaluate("options => { options.open = true; }")
    page.click("#sample")
    page.locator(".drop img:visible").nth(2).wait_for()
    page.click("button[type=submit]")
    shown(page)


def shown(page: Any) -> None:
    page.locator("#mesh-state", has_text="Drag to turn").wait_for()
    page.locator("button[type=submit]:enabled").wait_for()


def size_text(width: int, height: int) -> str:
    return f"{width} \N{MULTIPLICATION SIGN} {height}"


def painted(page: Any, canvas: str) -> int:
    """Pixels of a canvas that are not transparent."""
    return int(
        page.locator(canvas).evaluate(
            "canvas => canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data"
            ".reduce((count, value, i) => count + (i % 4 == 3 && value > 0), 0)"
        )
    )


def orbit(page: Any) -> str:
    return str(page.locator("#mesh").get_attribute("data-camera"))
