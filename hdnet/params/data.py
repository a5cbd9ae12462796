"""Sections of params.yaml for the data and its correspondences."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from hdnet.params.base import Positive, Section, Share

FocalPx = Annotated[float, Field(ge=100, le=10_000)]


class TakenParams(Section):
    """People and dances from elsewhere."""

    source: Literal["synthetic", "folder", "archive"] = "synthetic"
    """Origin: `synthetic`, a `folder` in the raw layout, or the authors' `archive`, packed or unpacked.

    See :mod:`hdnet.data.importing.authors`.
    """
    folder: Path = Path("own_data")
    """That folder or archive, which has to exist; `dvc repro` sees every change in it."""
    take: Literal["both", "people", "dances"] = "both"
    """Parts taken from there: `both`, `people` (labelled and held-out) or `dances`; the rest is synthetic."""


class SyntheticParams(Section):
    """Amount and look of synthetic people."""

    people: Positive = 280
    """Synthetic labelled people to train on."""
    pictures_per_person: Positive = 1
    """Labelled pictures of each: from other sides, with other cameras, light and surroundings."""
    format: Literal["text", "packed"] = "text"
    """Labelled pictures as `text` in the original's layout, or `packed`: a tenth of the size, more labels."""
    empty: Share = 0.0
    """Share of labelled pictures without anybody; needs `format: packed`."""
    sequences: Positive = 4
    """Synthetic unlabelled sequences, short dances."""
    frames_per_sequence: Annotated[int, Field(ge=2)] = 12
    """Frames of each sequence."""
    stride: Annotated[int, Field(ge=1, le=30)] = 4
    """Time from one frame of a sequence to the next, in thirtieths of a second."""
    focal_px: tuple[FocalPx, FocalPx] = (300.0, 330.0)
    """Range of the focal length in pixels of the 256 x 256 picture."""
    camera: Literal["centred", "reference"] = "centred"
    """Cameras: `centred` on the person, or `reference`, off axis as the original's."""
    framing: Literal["dance", "phone"] = "dance"
    """Views and poses of labelled pictures: of a `dance`, or as people with a `phone` take them.

    `phone`: from 0.2 to 1.3 of the picture high and off its middle, half bodies, heads, selfies, from a balcony and
    from the floor, tilted; seated, lying, kneeling people. Pictures at arm's length have 200 to 280 px instead of
    ``focal_px``; ``truncated`` has no meaning there. Sequences stay as they are.
    """
    film: Literal["plain", "phone"] = "plain"
    """Processing of the picture: `plain`, or as a `phone` and the internet do it.

    `phone`: mixed light, local tone mapping, halos, motion, small or compressed files, captions and borders.
    """
    masks: Literal["exact", "segmenter"] = "exact"
    """Masks: `exact`, or as a `segmenter` makes them, with soft edges, holes and spill."""
    iuv: Literal["exact", "densepose"] = "exact"
    """Body coordinates: `exact`, or as `densepose` makes them, with noise, missing parts, left for right."""
    truncated: Share = 0.1
    """Share of labelled pictures whose border cuts the person at the thighs or the waist."""
    occluded: Share = 0.05
    """Share of labelled pictures with furniture in front of the person."""
    environments: Path | None = None
    """Folder of environment maps (.exr, .hdr): light, background, reflections of half of the pictures.

    Equirectangular. See docs/synthetic.md.
    """
    photographs: Path | None = None
    """Folder of photographs without people (JPEG, PNG): backgrounds of a fifth of the pictures."""
    company: Share = 0.0
    """Share of pictures with other people or mannequins, who are not part of the mask."""
    things: Share = 0.0
    """Share of pictures with something held, worn or in front, outside the mask: bags, cups, pets, bicycles."""
    alike: Share = 0.0
    """Share of pictures whose surroundings have about the colour of the clothes."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.focal_px[0] > self.focal_px[1]:
            raise ValueError(f"focal_px is {list(self.focal_px)}: write the smaller focal length first")
        if self.empty and self.format == "text":
            raise ValueError(f"empty is {self.empty}, but text needs a person in every picture; set format: packed")
        return self

    @model_validator(mode="after")
    def _phones_are_centred(self) -> Self:
        if self.framing == "phone" and self.camera != "centred":
            raise ValueError(f"framing is phone and camera {self.camera}; expected camera centred")
        return self


class DataParams(SyntheticParams, TakenParams):
    """Synthetic people, or people from elsewhere."""

    heldout_people: Positive = 32
    """Other synthetic labelled people, for validation and `evaluate`."""


class CorrespondParams(Section):
    """Pairs of frames and their matches; the author's rule.

    Frames near in time are preferred, because the warp loss has a floor that grows with the turn of the body: DensePose
    names the skin below the clothes, and from another side another point of the clothes hides the same skin. With
    perfect depth and DensePose, the loss is 11 mm below 10 degrees of turn, 18 mm at 20 to 30 and 30 mm at 60 to 90 on
    synthetic dancers (``benchmarks/correspondences.py``), and 8, 15 and 34 mm at 10, 30 and 90 degrees on scans of
    dressed people: beyond about 30 degrees a pair is mostly noise.
    """

    source: Literal["match", "predicted", "given"] = "match"
    """Origin of the matches: found along DensePose (`match`) or `predicted` body maps; or `given`.

    `given` packs the text files in tiktok_data/correspondences; of the other keys only ``text_files`` applies to those.
    """
    body_model: Path = Path("pretrained")
    """Network of the `predicted` maps, models/normal.safetensors or one in pretrained/; else unused.

    A network for photographs, alone or as a complete model.
    """
    partners: Positive = 4
    """Partners of a frame: the nearest in time, of the same sequence."""
    max_gap_frames: Positive | None = None
    """Largest difference of the frame numbers of a pair; set it where a sequence has long gaps."""
    max_distance: Annotated[float, Field(gt=0)] = 7.0
    """Largest distance of a match in (U, V), 0..255 scale."""
    min_matches: Positive = 50
    """Fewest matches of a body part."""
    mutual: bool = False
    """Keep only matches nearest in both directions: the worst are 15 to 30 % better, 12 to 25 % are lost.

    No pixel of frame i is nearer to the partner. It drops those at the rim of what j shows, where all pixels whose own
    point j hides share the last visible one: on synthetic dancers the error that 95 % of the matches stay below falls
    from 9 to 8 mm between near frames and from 10 to 7 mm at 30 to 60 degrees of turn, for 12 and 25 % of the matches.
    """
    max_residual_px: Annotated[float, Field(gt=0)] | None = None
    """Largest distance from a part's motion; 4 drops 7 of 8 false matches, 0.2 to 3 % of good ones.

    In pixels of frame j, from the affine motion of the body part
    (:func:`hdnet.data.correspondence.match_filter.affine_residuals_px`). It drops what DensePose put into the wrong
    place in one of the frames: at 4 seven of eight such matches, with 0.2 % of the good ones between near frames and
    3 % at 30 to 60 degrees of turn. Parts that bend, or that are seen from another side, are not affine to the pixel;
    smaller limits cost more.
    """
    min_parts: Positive = 5
    """Fewest common body parts of a pair."""
    min_overlap: Share = 0.0
    """Smallest matched share of the body in a pair.

    The share of the body pixels of frame i depends little on the turn: 0.86 [0.82, 0.90] (median [5 %, 95 %]) below 10
    degrees, 0.80 [0.65, 0.85] at 20 to 30 and 0.72 [0.56, 0.80] at 30 to 45. It tells what is hidden or out of the
    picture.
    """
    max_turn_deg: Annotated[float, Field(gt=0, le=180)] | None = None
    """Largest turn of the body in a pair; beyond 30, the warp loss is mostly noise.

    Set it for dances with turns. Pairs whose turn is unknown are left out as well. See
    :func:`hdnet.data.correspondence.body_turn.torso_turn_deg`.
    """
    text_files: bool = False
    """Write the original's corr_mat.txt and corrs/ as well."""

    @model_validator(mode="after")
    def _predicted_by_a_model(self) -> Self:
        if self.source == "predicted" and self.body_model.suffix != ".safetensors":
            raise ValueError(
                f"source is predicted and body_model {str(self.body_model)!r}: name a model file, "
                "models/normal.safetensors for that of stage train_normal"
            )
        return self
