"""From posed people to pictures and labels: placing them before a camera and rendering a frame."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial.transform import Rotation

from hdnet.data.synthetic.body import SKIN_VERTICES, body_model
from hdnet.data.synthetic.garments import canonical
from hdnet.data.synthetic.light import Light, develop, mask_edges, shade, sky_openness
from hdnet.data.synthetic.looks import Looks, albedo
from hdnet.data.synthetic.person import PosedPerson
from hdnet.data.synthetic.render import Hits, Scene, pixel_directions, project_points
from hdnet.data.synthetic.surface import BoolArray, FloatArray, IntArray
from hdnet.errors import DataError
from hdnet.geometry import Camera

PICTURE_SIZE = 256
TARGET_MEDIAN_M = 4.0
MIN_MASK_SHARE = 0.03
_BORDER_PX = 5
# From the body frame (z up, facing -y) into that of a camera in front of the person (x right, y down, z
# forward).
_FRONT_VIEW = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
_SUBPIXELS = ((-0.125, -0.375), (0.375, -0.125), (-0.375, 0.125), (0.125, 0.375))


@dataclass(frozen=True, eq=False)
class View:
    """A camera and where the person's floor point is in its frame.

    Attributes:
        camera: Intrinsics.
        rotation: (3, 3) from the body frame to the camera frame.
        translation_m: (3,).
    """

    camera: Camera
    rotation: FloatArray
    translation_m: FloatArray

    def points(self, posed: PosedPerson, yaw_deg: float) -> tuple[FloatArray, FloatArray]:
        """Vertices and normals of a person turned by ``yaw_deg`` in the camera frame, float32."""
        turn = (self.rotation @ np.asarray(Rotation.from_euler("z", yaw_deg, degrees=True).as_matrix())).T
        turn = turn.astype(np.float32)
        return posed.vertices @ turn + self.translation_m.astype(np.float32), posed.normals @ turn


@dataclass(frozen=True, eq=False)
class Frame:
    """A rendered frame; arrays as in :class:`hdnet.data.samples.LabelledSample`."""

    image: FloatArray
    white_image: FloatArray
    iuv: IntArray
    mask: BoolArray
    depth_m: FloatArray
    normals: FloatArray


def draw_view(rng: np.random.Generator, camera: Camera, people: list[tuple[PosedPerson, float]]) -> View:
    """Place people (all frames of a sequence, with their yaw) inside the picture, 190 to 235 pixels high.

    Raises:
        DataError: No distance lets them fit.
    """
    tilt = Rotation.from_euler("xz", [rng.normal(0, 4), rng.normal(0, 2)], degrees=True).as_matrix()
    wanted_height = rng.uniform(190, 235)
    slack = rng.uniform(-0.2, 0.2, 2)
    focal_px = camera.pixel_intrinsics()[0]
    view = View(camera, tilt @ _FRONT_VIEW, np.array([0.0, 0.9, 1.8 * focal_px / wanted_height]))
    widest = PICTURE_SIZE - 1 - 2 * _BORDER_PX
    # Every 5th vertex is dense enough for a bounding box.
    clouds = [
        replace(posed, vertices=posed.vertices[::5], normals=posed.normals[::5]).vertices
        @ (view.rotation @ Rotation.from_euler("z", yaw, degrees=True).as_matrix()).T
        for posed, yaw in people
    ]
    cloud = np.concatenate(clouds)
    shift = view.translation_m.copy()
    for _ in range(8):
        pixels = project_points(camera, cloud + shift)
        low, high = pixels.min(0), pixels.max(0)
        extent = high - low
        zoom = min(wanted_height / extent[1], widest / extent[0])
        shift[2] /= zoom
        middle = (PICTURE_SIZE - 1) / 2 + slack * np.maximum(widest - extent * zoom, 0)
        shift[:2] += (middle - (low + high) / 2) * shift[2] / focal_px
    pixels = project_points(camera, cloud + shift)
    if pixels.min() < 1 or pixels.max() > PICTURE_SIZE - 2 or shift[2] <= 0.5:
        raise DataError(f"a person cannot be placed inside the picture with {camera}; use a longer focal length")
    return replace(view, translation_m=shift)


def render_frame(
    view: View,
    posed: PosedPerson,
    yaw_deg: float,
    looks: Looks,
    light: Light,
    background: FloatArray,
    seed: int,
) -> Frame:
    """Render picture and labels.

    Args:
        view: Camera and placement.
        posed: The dressed mesh.
        yaw_deg: Turn of the person.
        looks: Colours.
        light: Light and film.
        background: (256, 256, 3) display values.
        seed: Seed of this frame's sensor noise.
    """
    size = PICTURE_SIZE
    vertices, normals = view.points(posed, yaw_deg)
    scene = Scene(vertices, posed.person.faces)
    window = _bounding_pixels(view.camera, vertices)
    hits = _cast_pixels(scene, view.camera, window)
    mask = np.zeros(size * size, dtype=bool)
    mask[hits.ray] = True
    depth = np.zeros(size * size)
    depth[hits.ray] = hits.depth_m
    surface = hits.shading_normals(normals)
    normal_map = np.zeros((size * size, 3), dtype=np.float32)
    normal_map[hits.ray] = surface
    picture = _picture(view, scene, hits, surface, normals, posed, looks, light, background)
    image = develop(np.random.default_rng(seed), picture)
    grid = mask.reshape(size, size)
    # Scaled, not shifted: that leaves picture and normals as they are and makes training's shift a no-op.
    metres = depth * (TARGET_MEDIAN_M / np.median(depth[mask]))
    return Frame(
        image=image,
        white_image=np.where(grid[..., None], image, 255).astype(np.uint8),
        iuv=_iuv(vertices, hits).reshape(size, size, 3),
        mask=grid,
        depth_m=metres.astype(np.float32).reshape(size, size),
        normals=normal_map.reshape(size, size, 3),
    )


def _bounding_pixels(camera: Camera, vertices: FloatArray) -> tuple[IntArray, IntArray]:
    pixels = project_points(camera, vertices)
    low = np.maximum(np.floor(pixels.min(0)).astype(int) - 1, 0)
    high = np.minimum(np.ceil(pixels.max(0)).astype(int) + 2, PICTURE_SIZE)
    y, x = np.mgrid[low[1] : high[1], low[0] : high[0]]
    return x.ravel(), y.ravel()


def _cast_pixels(scene: Scene, camera: Camera, window: tuple[IntArray, IntArray]) -> Hits:
    x, y = window
    hits = scene.cast(pixel_directions(camera, x, y))
    return replace(hits, ray=(y * PICTURE_SIZE + x)[hits.ray])


def _iuv(vertices: FloatArray, hits: Hits) -> IntArray:
    """Charts of the naked body behind the pixels of the dressed one, (H * W, 3) uint8."""
    _, charts = canonical()
    # DensePose sees through clothes: the skin alone is cast, hidden faces included.
    points, faces = vertices[:SKIN_VERTICES], body_model().triangles["skin"]
    a, b, c = points[faces[:, 0]], points[faces[:, 1]], points[faces[:, 2]]
    # The first hit on a closed surface is on a face that looks at the camera: the others need not be built.
    facing = np.flatnonzero(np.einsum("ij,ij->i", np.cross(b - a, c - a), a) < 0)
    found = Scene(points, faces[facing]).cast(hits.directions)
    face = facing[found.face]
    uv = np.einsum("nc,ncd->nd", found.weights, charts.uv[face])
    iuv = np.zeros((PICTURE_SIZE * PICTURE_SIZE, 3), dtype=np.uint8)
    pixel = hits.ray[found.ray]
    iuv[pixel, 0] = charts.part[face]
    iuv[pixel, 1:] = np.round(np.clip(uv, 0, 1) * 255)
    return iuv


def _picture(
    view: View,
    scene: Scene,
    centre: Hits,
    surface: FloatArray,
    normals: FloatArray,
    posed: PosedPerson,
    looks: Looks,
    light: Light,
    background: FloatArray,
) -> FloatArray:
    """Display values (256, 256, 3): one ray inside, four where a pixel straddles an edge."""
    size = PICTURE_SIZE
    person = posed.person
    label, depth = np.full(size * size, -1), np.zeros(size * size)
    label[centre.ray], depth[centre.ray] = person.labels[centre.face], centre.depth_m
    edge = mask_edges(label.reshape(size, size), depth.reshape(size, size)).ravel()
    openness = sky_openness(scene, centre, surface, (size, size)).ravel()
    inside = np.flatnonzero(~edge[centre.ray])
    y, x = np.divmod(np.flatnonzero(edge), size)
    offsets = np.array(_SUBPIXELS)
    fine = scene.cast(
        pixel_directions(view.camera, (x[:, None] + offsets[:, 0]).ravel(), (y[:, None] + offsets[:, 1]).ravel())
    )
    fine = replace(fine, ray=np.repeat(np.flatnonzero(edge), len(offsets))[fine.ray])
    samples = Hits(
        *(
            np.concatenate([getattr(centre, name)[inside], getattr(fine, name)])
            for name in ("ray", "face", "weights", "depth_m", "corners", "directions", "face_normals")
        )
    )
    seen = samples.shading_normals(normals)
    colours = albedo(looks, person.labels[samples.face], samples.interpolate(person.canonical))
    shaded = shade(light, scene, samples, seen, colours, openness[samples.ray])
    weight = np.where(edge[samples.ray], 1 / len(offsets), 1.0)
    covered = np.bincount(samples.ray, weight, size * size)
    total = [np.bincount(samples.ray, weight * shaded[:, channel], size * size) for channel in range(3)]
    picture = np.stack(total, axis=1) + (1 - covered)[:, None] * background.reshape(-1, 3)
    return picture.reshape(size, size, 3)
