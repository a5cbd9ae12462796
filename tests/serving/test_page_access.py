"""The page for everybody: by keyboard, with a screen reader, in the dark, on a slow network, without WebGL."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from page_visits import BUSY_S, CHROMIUM, FLAGS, PHONE, Visit, orbit, painted, shown, visiting
from PIL import Image
from serving_fakes import wait_until

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here; `apt-get install chromium`")

# WCAG 2.2: contrast of normal and of large text (1.4.3), size of a target in pixels (2.5.8).
CONTRAST, LARGE_CONTRAST, TARGET_PX = 4.5, 3.0, 24
# Contrast of every visible text with the ground that is painted below it.
CONTRASTS = """() => {
  const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = (colour) => {
    const [r, g, b] = numbers(colour).map((value) => value / 255)
      .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const colour = getComputedStyle(one).backgroundColor;
      if ((numbers(colour)[3] ?? 1) > 0.99) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const found = [];
  for (const element of document.querySelectorAll("body *")) {
    const text = [...element.childNodes].filter((node) => node.nodeType === 3).map((node) => node.data.trim()).join("");
    if (!text || !element.checkVisibility() || element.matches(":disabled, option")) continue;
    const style = getComputedStyle(element), [one, two] = [light(style.color), light(ground(element))];
    const size = parseFloat(style.fontSize), large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
    found.push([text.slice(0, 40), (Math.max(one, two) + 0.05) / (Math.min(one, two) + 0.05), large]);
  }
  return found;
}"""
FOCUSED = """() => {
  const style = getComputedStyle(document.activeElement), frame = document.activeElement.parentElement;
  return style.outlineStyle !== "none" || getComputedStyle(frame).outlineStyle !== "none" || frame.matches(".drop");
}"""
OPERATED = ("button", "link", "combobox", "textbox", "spinbutton", "DisclosureTriangle", "image", "img")


def compare(page: Any, sample: str = "raised_arm") -> None:
    page.locator("#models").wait_for()
    page.select_option("#other", "shipped")
    page.click(f"[data-sample={sample}]")
    page.locator("#mesh-state-other", has_text="Drag to turn").wait_for()
    shown(page)


def downloaded(page: Any, selector: str, name: str) -> bytes:
    with page.expect_download() as started:
        page.click(selector)
    assert started.value.suggested_filename == name
    content = Path(started.value.path()).read_bytes()
    page.locator(f"{selector}:enabled").wait_for()
    return content


@pytest.mark.parametrize("options", [{}, {**PHONE, "color_scheme": "dark"}])
def test_two_models_stand_side_by_side(browser: Any, address: str, options: dict[str, Any]) -> None:
    with visiting(browser, address, **options) as visited:
        page = visited.page
        compare(page)
        in_service = page.locator("#model option").first.inner_text().removesuffix(", in service")
        names = page.locator(".model-name").all_inner_texts()
        assert set(names) == {in_service, "shipped with the package"}
        assert ("shipped" in page.inner_text("#figures"), "shipped" in page.inner_text("#figures-other")) == (
            False,
            True,
        )
        for name in ("depth", "normals", "mesh"):
            left, right = (page.locator(f"#{name}{suffix}").bounding_box() for suffix in ("", "-other"))
            assert left["x"] + left["width"] <= right["x"], name
            assert (left["y"], left["width"], left["height"]) == (right["y"], right["width"], right["height"]), name
            assert left["width"] > 140, name
        assert painted(page, "#depth-other") == painted(page, "#normals-other") > 10_000
        wide = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert wide[0] <= wide[1], "the page is wider than the screen"

        before = orbit(page)
        page.locator("#mesh-other").press("ArrowRight")
        wait_until(lambda: orbit(page) != before, timeout_s=BUSY_S)

        prefix = re.sub(r"[^\w.-]", "_", in_service)
        first, second = (
            dict(np.load(io.BytesIO(downloaded(page, f"#{files} [data-{kind}='depth.npz']", f"{name}_depth.npz"))))
            for files, kind, name in (("files", "name", prefix), ("files-other", "other", "shipped"))
        )
        everything = downloaded(page, "#files-other [data-other='person.zip']", "shipped_person.zip")
        with zipfile.ZipFile(io.BytesIO(everything)) as archive:
            assert json.loads(archive.read("figures.json"))["model"]["name"] == "shipped"
            np.testing.assert_array_equal(np.load(archive.open("depth.npz"))["depth_m"], second["depth_m"])
        # The page measures on pictures of millimetres and of 8 bits a normal.
        share, centimetres, degrees = map(float, re.findall(r"[\d.]+(?= %| cm|°)", page.inner_text("#difference")))
        both, either = first["mask"] & second["mask"], first["mask"] | second["mask"]
        apart_m = [one["depth_m"][both] - np.median(one["depth_m"][one["mask"]]) for one in (first, second)]
        # Pictures hold no normals that face away from the camera, as untrained ones do.
        facing = [
            one["normals"][both] * [1, 1, 0] + one["normals"][both].clip(max=0) * [0, 0, 1] for one in (first, second)
        ]
        facing = [one / np.linalg.norm(one, axis=-1, keepdims=True) for one in facing]
        cosines = (facing[0] * facing[1]).sum(axis=-1)
        assert share == pytest.approx(100 * both.sum() / either.sum(), abs=0.6)
        assert centimetres == pytest.approx(100 * np.abs(apart_m[0] - apart_m[1]).mean(), abs=0.15)
        assert degrees == pytest.approx(np.degrees(np.arccos(cosines.clip(-1, 1))).mean(), abs=1)

        page.select_option("#other", "")
        page.locator("#depth-other").wait_for(state="hidden")
        shown(page)
        assert "person.zip" in {
            str(button.get_attribute("data-name")) for button in page.locator("#files button").all()
        }
        assert visited.errors == []


def test_the_other_model_gets_the_same_person(browser: Any, address: str) -> None:
    with visiting(browser, address) as visited:
        compare(visited.page, "several_people")
        figures = [visited.page.inner_text(f"#figures{suffix}") for suffix in ("", "-other")]
        visited.page.locator(".person").nth(1).click()
        visited.page.locator(".person[aria-pressed=true][aria-label^='Person 2']").wait_for()
        visited.page.locator("#mesh-state-other", has_text="Drag to turn").wait_for()
        shown(visited.page)
        assert float(re.findall(r"agree on (\d+) %", visited.page.inner_text("#difference"))[0]) > 80
        assert [visited.page.inner_text(f"#figures{suffix}") for suffix in ("", "-other")] != figures


def tab_to(page: Any, wanted: str) -> None:
    """Press Tab until an element has the focus, which is seen at every step."""
    for _ in range(80):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement === document.body"):
            continue
        assert page.evaluate(FOCUSED), page.evaluate("document.activeElement.outerHTML")
        if page.evaluate(f"document.activeElement.matches({json.dumps(wanted)})"):
            return
    raise AssertionError(f"{wanted} has no place in the order of Tab")


def test_the_keyboard_alone_does_everything(guest: Visit) -> None:
    page = guest.page
    tab_to(page, "input[name=image]")
    tab_to(page, "[data-sample=several_people]")
    page.keyboard.press("Enter")
    shown(page)
    tab_to(page, "[aria-label^='Person 2']")
    page.keyboard.press("Enter")
    page.locator(".person[aria-pressed=true][aria-label^='Person 2']").wait_for()
    shown(page)
    tab_to(page, "#mesh")
    for key in ("ArrowRight", "ArrowDown", "+", "-"):
        before = orbit(page)
        page.keyboard.press(key)
        wait_until(lambda: orbit(page) != before, timeout_s=BUSY_S)  # noqa: B023 - waited for in the loop
    tab_to(page, "[data-name='figures.json']")
    with page.expect_download() as started:
        page.keyboard.press("Enter")
    assert started.value.suggested_filename == "figures.json"
    tab_to(page, "summary")
    page.keyboard.press("Enter")
    tab_to(page, "input[name=height_m]")
    assert guest.errors == []


def test_a_screen_reader_hears_names(guest: Visit, tmp_path: Path) -> None:
    page = guest.page
    page.click("[data-sample=several_people]")
    shown(page)
    page.locator("#options").evaluate("options => { options.open = true; }")
    tree = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")["nodes"]
    names: dict[str, list[str]] = {}
    for node in tree:
        if not node["ignored"]:
            names.setdefault(node["role"]["value"], []).append(node.get("name", {}).get("value", ""))
    nameless = [role for role in OPERATED if not all(names.get(role, []))]
    assert not nameless
    spoken = {name for role in OPERATED for name in names.get(role, [])}
    assert {
        "Compute depth",
        "a man with a raised arm",
        "Height of the person, metres",
        "Everything (ZIP)",
        "depth",
        "surface normals",
        "confidence",
        "mesh",
        "the photograph",
    } <= spoken
    assert any(name.startswith("Photograph of a person") for name in spoken)
    assert any(name.startswith("Person 2 of ") for name in spoken)
    assert {
        "Depth of a dressed person",
        "Depth",
        "Surface normals",
        "Confidence",
        "Mesh",
        "Figures",
        "Download",
    } <= set(names["heading"])
    assert names["status"]
    assert page.inner_text("#state").startswith("Done in")
    Image.new("RGB", (300, 200), (180, 170, 160)).save(tmp_path / "wall.jpg")
    page.set_input_files("input[name=image]", tmp_path / "wall.jpg")
    page.locator("#problem[role=alert]:visible").wait_for()


def test_text_can_be_read_in_light_and_dark(guest: Visit) -> None:
    page = guest.page
    page.click("[data-sample=seated]")
    shown(page)
    page.locator("#options").evaluate("options => { options.open = true; }")
    page.locator("#problem").evaluate(
        "problem => { problem.hidden = false; problem.children[0].textContent = 'Title'; }"
    )
    found = page.evaluate(CONTRASTS)
    assert len(found) > 40
    assert [one for one in found if one[1] < (LARGE_CONTRAST if one[2] else CONTRAST)] == []
    is_dark = page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", ground))) < 150) == is_dark


def test_fingers_hit_what_they_mean(browser: Any, shipped: str) -> None:
    with visiting(browser, shipped, **PHONE) as visited:
        page = visited.page
        page.click("[data-sample=seated]")
        shown(page)
        page.locator("#options").evaluate("options => { options.open = true; }")
        for element in page.locator("button:visible, summary, select:visible, input:visible, .button:visible").all():
            box = element.bounding_box()
            assert min(box["width"], box["height"]) >= TARGET_PX, element.evaluate("element => element.outerHTML")


def test_on_a_slow_network_results_do_not_wait_for_the_mesh(browser: Any, shipped: str) -> None:
    with visiting(browser, shipped, **PHONE) as visited:
        page = visited.page
        slow = {"offline": False, "latency": 300, "downloadThroughput": 200_000, "uploadThroughput": 100_000}
        page.context.new_cdp_session(page).send("Network.emulateNetworkConditions", slow)
        held: list[Any] = []  # requests for the viewer's library
        page.route("**/page/three.js", lambda route: held.append(route))
        page.click("[data-sample=raised_arm]")
        page.locator("#state", has_text="Working").wait_for()
        assert page.locator("button[type=submit]").is_disabled()
        page.locator("button[type=submit]:enabled").wait_for()
        assert painted(page, "#depth") > 10_000
        wait_until(lambda: page.evaluate("true") and bool(held), timeout_s=BUSY_S)  # lets routes be called
        assert page.inner_text("#mesh-state") == "Fetching the mesh …"
        assert page.locator("#state", has_text="Done in").is_visible()
        assert len(downloaded(page, "[data-name='depth.png']", "depth.png")) > 1000
        held[0].continue_()
        shown(page)
        assert visited.errors == []


@pytest.mark.parametrize(
    ("break_off", "title"),
    [
        (lambda route: route.abort(), "The service cannot be reached"),
        (
            lambda route: route.fulfill(status=200, content_type="application/json", body='{"dep'),
            "The answer broke off",
        ),
        (lambda route: route.fulfill(status=502, content_type="text/html", body="<h1>Bad Gateway</h1>"), "Error 502"),
    ],
)
def test_a_network_that_fails_is_told(browser: Any, shipped: str, break_off: Callable[[Any], None], title: str) -> None:
    with visiting(browser, shipped) as visited:
        page = visited.page
        page.route("**/depth", break_off, times=1)
        page.click("[data-sample=raised_arm]")
        page.locator("#problem:visible", has_text=title).wait_for()
        page.click("button[type=submit]")
        shown(page)
        assert page.locator("#problem").is_hidden()
        assert visited.errors == []


def test_without_webgl_the_mesh_is_a_file(browser: Any, shipped: str) -> None:
    plain = browser.browser_type.launch(executable_path=CHROMIUM, args=[*FLAGS, "--disable-3d-apis"])
    try:
        with visiting(plain, shipped) as visited:
            page = visited.page
            page.click("[data-sample=raised_arm]")
            page.locator("#mesh-state", has_text="This browser cannot show the mesh").wait_for()
            assert painted(page, "#depth") > 10_000
            assert downloaded(page, "[data-name='person.glb']", "person.glb").startswith(b"glTF")
            assert visited.errors == []
    finally:
        plain.close()
