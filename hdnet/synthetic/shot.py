"""Shot of a synthetic person: what is drawn for one picture or sequence, and its frames."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Annotated, Self

import numpy as np
from pydantic import Field, model_validator

from hdnet.data.layout.folders import MAX_DEPTH_SPAN
from hdnet.errors import DataError
from hdnet.geometry import Camera
from hdnet.params import SyntheticParams
from hdnet.synthetic.motion import Pose, draw_yaw
from hdnet.synthetic.person import Person, PosedPerson, draw_person, person_facts, pose_person, turned
from hdnet.synthetic.rendering import (
    MIN_MASK_SHARE,
    MIN_SNAPSHOT_SHARE,
    Company,
    Frame,
    Framing,
    FramingError,
    Light,
    View,
    alike_light,
    draw_background,
    draw_clothes_colour,
    draw_company,
    draw_film,
    draw_furniture,
    draw_light,
    draw_phone_film,
    draw_seat,
    draw_snapshot,
    draw_surroundings,
    draw_thing,
    draw_view,
    empty_frame,
    imperfect_frame,
    overlaid,
    render_frame,
)
from hdnet.synthetic.rendering.solids import Solid, merged
from hdnet.synthetic.surface import FloatArray

_ATTEMPTS = 8
_KINDS = {"still": 0, "sequence": 1}
_BACKLIT = 0.08
_STREAMS = (
    *("person", "clothes", "pose", "light", "camera", "noise", "imperfection", "surroundings", "environment"),
    *("company", "things", "alike", "film"),
)


class SyntheticSpec(SyntheticParams):
    """Specification of a synthetic data set; its counts may be 0."""

    seed: Annotated[int, Field(ge=0)]
    """Seed of everything that is drawn."""
    people: Annotated[int, Field(ge=0)]
    """People of the labelled stills, ``pictures_per_person`` of each."""
    sequences: Annotated[int, Field(ge=0)]
    """Unlabelled sequences."""
    frames_per_sequence: Annotated[int, Field(ge=0)]
    """Frames of each."""

    @model_validator(mode="after")
    def _sequences_have_frames(self) -> Self:
        if self.sequences and not self.frames_per_sequence:
            raise ValueError("frames_per_sequence is 0; expected at least 1 frame")
        return self

    @property
    def stills(self) -> int:
        """Number of labelled stills."""
        return self.people * self.pictures_per_person

    def framing_of(self, kind: str) -> Framing:
        """Return the framing of the pictures of a kind."""
        usual = Framing() if kind == "still" else Framing.of_sequences()
        # Sequences are cut and hidden less often than stills, by a constant factor.
        cut = min(self.truncated / (1 - Framing().whole), 1 / (1 - usual.whole))
        hidden = min(self.occluded / Framing().furniture * usual.furniture, 1.0)
        thigh, waist, close = (share * cut for share in usual.shares[1:])
        return Framing(max(1 - thigh - waist - close, 0.0), thigh, waist, close, hidden)


class Shot:
    """One person with their clothes, and the light and camera of one picture or sequence.

    Args:
        spec: Specification.
        kind: "still" or "sequence".
        index: Number of the person or sequence.
        take: Number among the pictures of one person. The first has all streams of the person; others have their own,
            and no person: they take pictures of the first one's.
    """

    def __init__(self, spec: SyntheticSpec, kind: str, index: int, take: int = 0) -> None:
        key = (_KINDS[kind], index) if take == 0 else (_KINDS[kind], index, take)
        streams = np.random.SeedSequence(spec.seed, spawn_key=key).spawn(len(_STREAMS))
        self.spec, self.kind = spec, kind
        self.rng = {name: np.random.default_rng(s) for name, s in zip(_STREAMS, streams, strict=True)}
        self.is_alike = bool(self.rng["alike"].random() < spec.alike)
        surroundings = draw_surroundings(self.rng["environment"], spec.environments, spec.photographs)
        self.surroundings = None if self.is_alike else surroundings
        drawn = draw_light(self.rng["light"])
        self.light = (self.surroundings and self.surroundings.light) or drawn
        self.film = draw_film(self.rng["light"])
        if spec.film == "phone":
            self.film = draw_phone_film(self.rng["film"])
            self.light = self._backlit(self.light)
        focal_px = float(self.rng["camera"].uniform(*spec.focal_px))
        self.camera = Camera.reference() if spec.camera == "reference" else Camera.centred(round(focal_px, 3))
        self.facts: dict[str, str | float] = {
            "light": self.light.kind,
            "environment": "",
            "photograph": "",
            "exposure_stops": float(np.log2(self.film.gain.mean())),
        }
        self.facts |= self.surroundings.facts if self.surroundings else {}

    def _backlit(self, light: Light) -> Light:
        """Put a few people before much brighter surroundings, to which the camera is exposed."""
        if self.rng["film"].random() > _BACKLIT:
            return light
        brighter = self.rng["film"].uniform(2, 4.5)
        return replace(light, behind=light.behind * brighter, exposure=light.exposure * brighter**-0.45)

    @cached_property
    def is_empty(self) -> bool:
        """Mark of a picture that shows nobody, drawn once."""
        return self.kind == "still" and bool(self.rng["surroundings"].random() < self.spec.empty)

    @cached_property
    def person(self) -> Person:
        """The dressed person, not posed."""
        return draw_person(self.rng["person"], self.rng["clothes"])

    def posed(self, poses: list[Pose]) -> list[PosedPerson]:
        """Pose the dressed person in every ``stride``-th of some drawn poses."""
        return pose_person(self.person, poses, self.spec.stride)

    def render(self, draw_poses: Callable[[np.random.Generator], list[Pose]]) -> tuple[list[PosedPerson], list[Frame]]:
        """Draw poses and render them, again where a frame shows too little of the person or something at the lens.

        Raises:
            DataError: No frame large enough after a few draws.
        """
        self.facts |= person_facts(self.person)
        return self._drawn(lambda: self.posed(draw_poses(self.rng["pose"])))

    def again(self, person: Person, posed: PosedPerson) -> Frame:
        """Render a person of another shot who has been posed, turned to another side.

        Raises:
            DataError: No frame large enough after a few draws.
        """
        self.facts |= person_facts(person)
        return self._drawn(lambda: [turned(posed, draw_yaw(self.rng["pose"]) - posed.pose.yaw_deg)])[1][0]

    def _drawn(self, draw: Callable[[], list[PosedPerson]]) -> tuple[list[PosedPerson], list[Frame]]:
        """Render drawn people, drawn again where no camera frames them or a frame is :meth:`_faulty`."""
        for _ in range(_ATTEMPTS):
            posed = draw()
            try:
                frames = self.pictures(posed)
            except FramingError as error:
                # A person who lies with the head to the camera, say.
                fault = str(error)
                continue
            faults = [] if self.is_empty else [one for one in map(self._faulty, frames) if one]
            if not faults:
                return posed, frames
            fault = faults[0]
        raise DataError(f"{fault}, in {_ATTEMPTS} draws")

    def _faulty(self, frame: Frame) -> str:
        """Return why a frame is no label: little of the person is seen, or a finger at the lens of a selfie."""
        if frame.mask.mean() < self.least_share:
            return f"the person covers less than {100 * self.least_share:g}% of the picture"
        depth_m = frame.depth_m[frame.mask]
        if depth_m.max() > MAX_DEPTH_SPAN * depth_m.min():
            return f"the person's farthest point is over {MAX_DEPTH_SPAN:g} times as far away as the nearest"
        return ""

    @property
    def least_share(self) -> float:
        """Least share of a picture that the person covers."""
        return MIN_SNAPSHOT_SHARE if self._is_snapshot else MIN_MASK_SHARE

    @property
    def _is_snapshot(self) -> bool:
        return self.spec.framing == "phone" and self.kind == "still"

    def pictures(self, posed: list[PosedPerson]) -> list[Frame]:
        """Render the frames of the posed person with one camera and background."""
        framing, rng = self.spec.framing_of(self.kind), self.rng["camera"]
        self.facts |= {"framing": "dance", "hold": ""}
        seat = None
        if self._is_snapshot:
            view, posed, seat = self._snapshot(posed[0])
        else:
            view = draw_view(rng, self.camera, posed, framing)
        hidden = rng.random() < framing.furniture and self.facts["hold"] != "arm"
        furniture = draw_furniture(rng, view, posed) if hidden else None
        company = self._company(view, posed)
        thing, held = self._things(view, posed)
        tint, light = self._colours(posed[0].person)
        background = draw_background(
            self.rng["light"], view, light, posed, self.surroundings, others=company.behind, tint=tint
        )
        background = overlaid(background, view, light, company.behind)
        self.facts |= {
            "camera_pitch_deg": view.pitch_deg,
            "camera_roll_deg": view.roll_deg,
            "camera_height_m": float(view.centre_m[2]),
            "focal_px": self.camera.pixel_intrinsics()[0],
            "yaw_deg": (posed[0].pose.yaw_deg + 180) % 360 - 180,
            "pose": posed[0].pose.name.replace(",", ""),
            "furniture": float(furniture is not None),
            "company": float(company.count),
            "things": thing,
            "alike": float(self.is_alike),
            "nobody": float(self.is_empty),
        }
        if self.is_empty:
            return [empty_frame(light, background, self.film, self.rng["noise"]) for _ in posed]
        frames = []
        for person, one in zip(posed, held, strict=True):
            in_front = _merged(seat, furniture, company.before, one)
            frame = render_frame(view, person, light, background, in_front, self.film, self.rng["noise"])
            frames.append(self._finished(frame))
        rows = np.flatnonzero(frames[0].mask.any(1))
        self.facts["person_height_px"] = float(np.ptp(rows) + 1) if len(rows) else 0.0
        return frames

    def _snapshot(self, posed: PosedPerson) -> tuple[View, list[PosedPerson], Solid | None]:
        """Draw the view of a phone picture, and what the person sits or lies on."""
        indoors = self.surroundings is None and self.light.place == "room"
        snapshot = draw_snapshot(self.rng["camera"], posed, self.spec.focal_px, indoors)
        self.camera = snapshot.view.camera
        self.facts |= {"framing": snapshot.framing, "hold": snapshot.hold}
        return snapshot.view, [snapshot.posed], draw_seat(self.rng["camera"], snapshot.posed)

    def _company(self, view: View, posed: list[PosedPerson]) -> Company:
        """Draw other people, or none."""
        if self.rng["company"].random() < self.spec.company and not self.is_empty:
            return draw_company(self.rng["company"], self.spec.seed, view, posed)
        return Company()

    def _things(self, view: View, posed: list[PosedPerson]) -> tuple[str, Sequence[Solid | None]]:
        """Draw a thing at the person, or none; return its name and a solid for each frame."""
        if self.rng["things"].random() < self.spec.things and not self.is_empty:
            name, solids = draw_thing(self.rng["things"], view, posed)
            if solids:
                return name, solids
        return "", [None] * len(posed)

    def _colours(self, person: Person) -> tuple[FloatArray | None, Light]:
        """Return the colour of the surroundings where it is that of the clothes, and the light."""
        if not self.is_alike:
            return None, self.light
        colour = draw_clothes_colour(self.rng["alike"], person)
        return colour, alike_light(self.rng["alike"], self.light, colour)

    def _finished(self, frame: Frame) -> Frame:
        if self.spec.masks == "exact" and self.spec.iuv == "exact":
            return frame
        return imperfect_frame(
            self.rng["imperfection"],
            frame,
            segmenter=self.spec.masks == "segmenter",
            densepose=self.spec.iuv == "densepose",
        )


def _merged(*solids: Solid | None) -> Solid | None:
    some = [solid for solid in solids if solid is not None]
    return merged(some) if some else None
