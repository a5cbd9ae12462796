from __future__ import annotations

import pytest

from serving.depth_routes import choose_media_type

OFFERED = ["application/json", "image/png", "application/x-npz"]


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", "application/json"),
        ("*/*", "application/json"),
        ("image/png", "image/png"),
        ("IMAGE/PNG", "image/png"),
        ("image/*, application/json;q=0.9", "image/png"),
        ("application/*;q=0.5, application/x-npz", "application/x-npz"),
        ("application/json;q=0.2, image/png;q=0.3, application/x-npz;q=0.25", "image/png"),
        ("*/*;q=0.1, application/json;q=0", "image/png"),
        ("image/png;level=1;q=0.4, application/x-npz;q=0.5", "application/x-npz"),
        ("image/png;q=0", None),
        ("text/html", None),
        ("nonsense, image/png", "image/png"),
        ("image/png;q=high, application/x-npz;q=0.1", "application/x-npz"),
        ("image/png;q=7", None),
        ("application/json; charset=utf-8", "application/json"),
        ("image/png;q=0.1, image/png;q=0.9, application/json;q=0.5", "image/png"),
    ],
)
def test_choose(accept: str, expected: str | None) -> None:
    assert choose_media_type(accept, OFFERED) == expected
