from dataclasses import replace

import numpy as np
from dance_videos import Scene, dance, paint

from hdnet.data.importing.cuts import appearance_of, find_cuts


def looks(scenes: list[Scene], light: list[float] | None = None) -> list:
    found = []
    for i, scene in enumerate(scenes):
        image, mask, _ = paint(scene)
        factor = light[i] if light else 1.0
        found.append(appearance_of((image * factor).clip(0, 255).astype(np.uint8), mask))
    return found


def test_a_dance_has_no_cut():
    assert find_cuts(looks(dance(60))) == []


def test_another_place_is_a_cut():
    assert find_cuts(looks(dance(20) + dance(25, background=1))) == [20]


def test_other_clothes_in_the_same_place_are_a_cut():
    assert find_cuts(looks(dance(40)[:20] + dance(40, clothes=(40, 90, 210))[20:])) == [20]


def test_a_jump_with_slightly_other_light_is_a_cut():
    before = [replace(scene, x=0.25, half_width=0.12) for scene in dance(20)]
    after = [replace(scene, x=0.75, half_width=0.12) for scene in dance(20)]
    assert find_cuts(looks(before + after, [1.0] * 20 + [1.12] * 20)) == [20]


def test_a_jump_alone_is_none():
    """A fast step, or frames far apart in time."""
    before = [replace(scene, x=0.25, half_width=0.12) for scene in dance(20)]
    after = [replace(scene, x=0.75, half_width=0.12) for scene in dance(20)]
    assert find_cuts(looks(before + after)) == []


def test_a_flash_and_a_strobe_light_are_none():
    flash = [1.0] * 40
    flash[20] = 1.9
    assert find_cuts(looks(dance(40), flash)) == []
    strobe = [1.8 if i % 2 else 0.7 for i in range(40)]
    assert find_cuts(looks(dance(40), strobe)) == []


def test_light_that_fades_is_none():
    assert find_cuts(looks(dance(40), list(np.linspace(1, 0.3, 40)))) == []


def test_several_cuts_and_short_shots():
    scenes = dance(10) + dance(3, background=1) + dance(10, background=2, clothes=(40, 200, 90))
    assert find_cuts(looks(scenes)) == [10, 13]


def test_few_frames():
    assert find_cuts([]) == []
    assert find_cuts(looks(dance(1))) == []
    assert find_cuts(looks([Scene(), Scene(background=1, clothes=(20, 60, 220))])) == [1]
