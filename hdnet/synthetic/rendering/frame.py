"""Frame rendering: picture and exact labels of a posed person before a background."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from hdnet.geometry import MEDIAN_DEPTH_M
from hdnet.synthetic.body import SKIN_VERTICES, body_model
from hdnet.synthetic.canonical import canonical_body
from hdnet.synthetic.iuv import canonical_charts
from hdnet.synthetic.person import PosedPerson
from hdnet.synthetic.rendering.antialiasing import averaged, edges, scatter, subpixels
from hdnet.synthetic.rendering.backgrounds import Background
from hdnet.synthetic.rendering.film import Film, develop
from hdnet.synthetic.rendering.light import Light
from hdnet.synthetic.rendering.rays import Hits, Scene, pixel_directions, project_points
from hdnet.synthetic.rendering.shading import incoming_light, outgoing_radiance
from hdnet.synthetic.rendering.solids import Solid
from hdnet.synthetic.rendering.textures import gloss, painted, texture
from hdnet.synthetic.rendering.view import PICTURE_SIZE, View
from hdnet.synthetic.surface import BoolArray, FloatArray, IntArray

_EDGE_STEP_M = 0.03
_OUTSIDE_PX = 80
_BESIDE_LENS_M = 0.05


@dataclass(frozen=True, eq=False)
class Frame:
    """Rendered frame; arrays as in :class:`hdnet.data.layout.samples.LabelledSample`.

    Attributes:
        distance_m: True median of the depth over the mask, 0 without a person.
        coverage: (H, W) uint8, share of a pixel that the person covers, 255 for all of it.
        canonical_m: (H, W, 3) float32, point of the canonical body behind the pixel, 0 where there is none.
    """

    image: IntArray
    white_image: IntArray
    iuv: IntArray
    mask: BoolArray
    depth_m: FloatArray
    normals: FloatArray
    distance_m: float
    coverage: IntArray
    canonical_m: FloatArray


def render_frame(
    view: View,
    posed: PosedPerson,
    light: Light,
    background: Background,
    furniture: Solid | None,
    film: Film,
    rng: np.random.Generator,
) -> Frame:
    """Render picture and labels.

    Args:
        view: Camera and its place.
        posed: The dressed person in the world.
        light: Light of the person and of the background.
        background: Background behind the person.
        furniture: Furniture in front of the person; its pixels are not part of the mask.
        film: Camera settings.
        rng: Stream of this frame's noise.
    """
    foreground = _Foreground.of(view, posed, furniture)
    hits = foreground.cast_centres()
    seen = hits.face < len(posed.person.faces)
    if film.covered is not None:
        seen &= ~film.covered.ravel()[hits.ray]
    person = hits.chosen(seen)
    surface = person.shading_normals(foreground.normals)
    mask = scatter(person.ray, np.ones(len(person.ray), dtype=bool))
    # Scaled, not shifted: that leaves picture and normals as they are and makes training's shift a no-op.
    distance_m = float(np.median(person.depth_m)) if len(person.ray) else 0.0
    scale = MEDIAN_DEPTH_M / distance_m if distance_m else 1.0
    radiance, coverage = _picture(foreground, hits, light, background)
    if film.covered is not None:
        coverage = np.where(film.covered, 0, coverage).astype(np.uint8)
    image = develop(rng, film, light.exposure * radiance)
    iuv, canonical_m = _body_points(foreground.vertices, person)
    return Frame(
        image=image,
        white_image=np.where(mask[..., None], image, 255).astype(np.uint8),
        iuv=iuv,
        mask=mask,
        depth_m=scatter(person.ray, (person.depth_m * scale).astype(np.float32)),
        normals=scatter(person.ray, surface.astype(np.float32)),
        distance_m=distance_m,
        coverage=coverage,
        canonical_m=canonical_m,
    )


def empty_frame(light: Light, background: Background, film: Film, rng: np.random.Generator) -> Frame:
    """Render a picture without a person; arguments as of :func:`render_frame`."""
    size = (PICTURE_SIZE, PICTURE_SIZE)
    image = develop(rng, film, light.exposure * background.radiance)
    return Frame(
        image=image,
        white_image=np.full_like(image, 255),
        iuv=np.zeros((*size, 3), np.uint8),
        mask=np.zeros(size, bool),
        depth_m=np.zeros(size, np.float32),
        normals=np.zeros((*size, 3), np.float32),
        distance_m=0.0,
        coverage=np.zeros(size, np.uint8),
        canonical_m=np.zeros((*size, 3), np.float32),
    )


@dataclass(frozen=True, eq=False)
class _Foreground:
    """Foreground in the camera frame: the person's faces, then those of the furniture.

    Attributes:
        view: View of the camera.
        posed: The person.
        furniture: Furniture in front of the person.
        vertices: (V, 3) of both.
        normals: (V, 3), 0 of furniture with flat faces.
        scene: The faces that may be seen.
        built: Numbers of these faces among all faces.
        window: Left, right, top and bottom pixel of the visible region.
    """

    view: View
    posed: PosedPerson
    furniture: Solid | None
    vertices: FloatArray
    normals: FloatArray
    scene: Scene
    built: IntArray
    window: tuple[int, int, int, int]

    @classmethod
    def of(cls, view: View, posed: PosedPerson, furniture: Solid | None) -> _Foreground:
        vertices, normals, faces = view.points(posed.vertices), view.directions(posed.normals), posed.person.faces
        if furniture is not None:
            faces = np.concatenate([faces, furniture.faces + len(vertices)])
            vertices = np.concatenate([vertices, view.points(furniture.vertices)])
            round_ones = np.zeros_like(furniture.vertices) if furniture.normals is None else furniture.normals
            normals = np.concatenate([normals, view.directions(round_ones)])
        own = vertices[: len(posed.vertices)]
        x, y = project_points(view.camera, own).T
        built = np.arange(len(faces))
        # Where the person holds the camera, parts of them are beside and behind it: no place in the picture.
        around = bool(own[:, 2].min() < _BESIDE_LENS_M)
        if around:
            pass
        elif x.min() < -_OUTSIDE_PX or max(x.max(), y.max()) > PICTURE_SIZE + _OUTSIDE_PX or y.min() < -_OUTSIDE_PX:
            # Faces far outside the picture cost time and cast no shadow into it.
            near = (np.abs(x - PICTURE_SIZE / 2) < PICTURE_SIZE / 2 + _OUTSIDE_PX) & (
                np.abs(y - PICTURE_SIZE / 2) < PICTURE_SIZE / 2 + _OUTSIDE_PX
            )
            near = np.append(near, np.ones(len(vertices) - len(near), dtype=bool))
            built = np.flatnonzero(near[faces[:, 0]])
        whole = (0, PICTURE_SIZE, 0, PICTURE_SIZE)
        window = whole if furniture is not None or around else _window(x, y)
        return cls(view, posed, furniture, vertices, normals, Scene(vertices, faces[built]), built, window)

    def cast(self, x: FloatArray, y: FloatArray) -> Hits:
        """Cast rays through pixel positions."""
        hits = self.scene.cast(pixel_directions(self.view.camera, x, y))
        return replace(hits, face=self.built[hits.face])

    def cast_centres(self) -> Hits:
        """Cast one ray through the centre of each pixel of the window; ``ray`` is the flat pixel number."""
        left, right, top, bottom = self.window
        y, x = (grid.ravel() for grid in np.mgrid[top:bottom, left:right])
        return self.cast(x, y).renumbered(y * PICTURE_SIZE + x)

    def label(self, hits: Hits) -> IntArray:
        """Return the material of the person, -2 for furniture, (N,)."""
        labels = self.posed.person.labels
        own = hits.face < len(labels)
        return np.where(own, labels[np.where(own, hits.face, 0)], -2)

    def shading_normals(self, hits: Hits) -> FloatArray:
        """Return shading normals (N, 3), flat for furniture that is not round."""
        smooth = hits.face < len(self.posed.person.faces)
        if self.furniture is not None and self.furniture.normals is not None:
            smooth |= self.normals[hits.corners].any(axis=(1, 2))
        return np.where(smooth[:, None], hits.shading_normals(self.normals), hits.facing_face_normals())

    def colours(self, hits: Hits) -> tuple[FloatArray, FloatArray]:
        """Return albedo (N, 3) and gloss (N,)."""
        person = self.posed.person
        colour, shine = np.zeros((len(hits.ray), 3), dtype=np.float32), np.zeros(len(hits.ray), dtype=np.float32)
        label = self.label(hits)
        for number in np.unique(label[label >= 0]):
            here = np.flatnonzero(label == number)
            material = person.materials[number]
            colour[here] = material.albedo(hits.chosen(here).interpolate(person.canonical))
            shine[here] = material.gloss
        here = np.flatnonzero(label < 0)
        if self.furniture is not None and len(here):
            hit, face = hits.chosen(here), hits.face[here] - len(person.faces)
            normals = self.view.world_directions(hit.facing_face_normals())
            where, pixel_m = self.view.world_points(hit.points()), hit.pixel_m(self.view.camera)
            finish, _ = texture(self.furniture, face, where, normals, pixel_m)
            colour[here] = painted(self.furniture, face, hit.weights, finish)
            shine[here] = gloss(self.furniture, face)
        return colour, shine


def _picture(
    foreground: _Foreground, centre: Hits, light: Light, background: Background
) -> tuple[FloatArray, IntArray]:
    """Render radiance (256, 256, 3) and the person's coverage: one ray inside, four where a pixel straddles an edge."""
    edge = edges(
        scatter(centre.ray, foreground.label(centre), -1), scatter(centre.ray, centre.depth_m), _EDGE_STEP_M
    ).ravel()
    light_here = incoming_light(
        foreground.scene, foreground.view, light, centre.ray, centre.points(), centre.facing_face_normals()
    )
    x, y, pixel = subpixels(edge)
    fine = foreground.cast(x, y).renumbered(pixel)
    samples = centre.chosen(~edge[centre.ray]).joined(fine)
    colours, shine = foreground.colours(samples)
    shaded = outgoing_radiance(
        light,
        foreground.view,
        samples,
        foreground.shading_normals(samples),
        colours,
        shine,
        light_here.openness[samples.ray],
        light_here.lit[:, samples.ray],
    )
    total, covered = averaged(edge, samples.ray, shaded)
    behind = background.with_shadows(
        foreground.scene, foreground.view, light, foreground.posed.vertices, covered > 0.99
    )
    radiance = total.reshape(behind.shape) + (1 - covered).reshape(PICTURE_SIZE, PICTURE_SIZE, 1) * behind
    is_person = (samples.face < len(foreground.posed.person.faces)).astype(np.float32)
    share, _ = averaged(edge, samples.ray, is_person[:, None])
    return np.asarray(radiance), np.round(255 * share.reshape(PICTURE_SIZE, PICTURE_SIZE)).astype(np.uint8)


def _window(x: FloatArray, y: FloatArray) -> tuple[int, int, int, int]:
    """Return left, right, top and bottom of the pixels that points may touch."""
    ends = np.floor([x.min() - 1, x.max() + 2, y.min() - 1, y.max() + 2]).astype(int)
    left, right, top, bottom = np.clip(ends, 0, PICTURE_SIZE)
    return int(left), int(right), int(top), int(bottom)


def _body_points(vertices: FloatArray, hits: Hits) -> tuple[IntArray, FloatArray]:
    """Find the naked body behind the pixels of the dressed one.

    Returns:
        I, U, V, (H, W, 3) uint8, and the canonical points, (H, W, 3) float32.
    """
    charts = canonical_charts()
    # DensePose predicts the body below the clothes: cast the skin alone, hidden faces included.
    points, faces = vertices[:SKIN_VERTICES], body_model().triangles["skin"]
    a = points[faces[:, 0]]
    u, v = points[faces[:, 1]] - a, points[faces[:, 2]] - a
    # The first hit on a closed surface is on a face that looks at the camera: the others need not be built.
    volume = (
        (u[:, 1] * v[:, 2] - u[:, 2] * v[:, 1]) * a[:, 0]
        + (u[:, 2] * v[:, 0] - u[:, 0] * v[:, 2]) * a[:, 1]
        + (u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]) * a[:, 2]
    )
    facing = np.flatnonzero(volume < 0)
    found = Scene(points, faces[facing]).cast(hits.directions)
    face = facing[found.face]
    uv = np.einsum("nc,ncd->nd", found.weights, charts.uv[face])
    values = np.column_stack([charts.part[face], np.round(np.clip(uv, 0, 1) * 255)])
    pixels = hits.ray[found.ray]
    corners = canonical_body().vertices[body_model().triangles["skin"][face]]
    canonical_m = np.einsum("nc,ncd->nd", found.weights, corners)
    return scatter(pixels, values.astype(np.uint8)), scatter(pixels, canonical_m.astype(np.float32))
