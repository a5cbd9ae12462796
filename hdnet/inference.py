"""From a picture of any size, its mask and its DensePose map to depth, normals and a mesh."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from hdnet import visualize
from hdnet.crop import MIN_MASK_PIXELS, NETWORK_SIZE, Crop, bounds, map_back, network_inputs
from hdnet.errors import InputError, ModelError
from hdnet.geometry import Camera
from hdnet.mesh import Mesh, depth_to_mesh
from hdnet.models import HDNet, ModelIdentity
from hdnet.models.weights import HDNET_FILE, load_hdnet
from hdnet.original_outputs import OriginalMaps
from hdnet.pictures import LAST_PART, encode_png, mask_from_grey

MODEL_URI = "models:/"


@dataclass(frozen=True, eq=False)
class Prediction:
    """What the model says about one picture, in the picture's own pixels and camera.

    Attributes:
        depth_m: (H, W) float32 z in metres, 0 outside the mask.
        normals: (H, W, 3) float32 unit vectors in the camera frame, 0 outside the mask.
        mask: (H, W) bool, where there is a prediction.
        image: (H, W, 3) uint8, the picture as given.
        camera: Camera of the picture, in which depth and normals are expressed.
        identity: The registered model it came from, or None for a model file.
    """

    depth_m: np.ndarray
    normals: np.ndarray
    mask: np.ndarray
    image: np.ndarray
    camera: Camera
    identity: ModelIdentity | None

    def mesh(self, size: int = NETWORK_SIZE) -> Mesh:
        """The visible surface as coloured triangles.

        The network sees 256 pixels, whatever the picture's size: more vertices would hold no more shape, and
        the step from an arm to the body behind it, spread over many pixels, would no longer be recognised as
        one.

        Args:
            size: Every n-th pixel is taken so that the person spans about this many.

        Raises:
            InputError: If no four neighbouring pixels can be joined.
        """
        rows, columns = bounds(self.mask)
        step = max(1, round(max(rows[1] - rows[0], columns[1] - columns[0]) / size))
        every = (slice(None, None, step), slice(None, None, step))
        camera = self.camera.crop(0, 0, step)
        return depth_to_mesh(
            self.depth_m[every], self.mask[every], camera, self.image[every], normals=self.normals[every]
        )


class Predictor:
    """Runs a model on pictures of any size. Calls from several threads take turns.

    Args:
        model: The network; moved to ``device``.
        identity: Which registered model it is.
        device: PyTorch device.
    """

    def __init__(self, model: HDNet, identity: ModelIdentity | None = None, device: str = "cpu") -> None:
        self.model = model.to(device).eval()
        self.identity = identity
        self.device = torch.device(device)
        self._turn = threading.Lock()

    @classmethod
    def load(cls, source: str | Path, device: str = "cpu") -> Predictor:
        """Loads a model.

        Args:
            source: A registry URI such as ``models:/hdnet@champion``, a folder with ``hdnet.safetensors``, or
                that file.
            device: PyTorch device.

        Raises:
            ModelError: If there is no such model, or it cannot be read.
        """
        if str(source).startswith(MODEL_URI):
            try:
                from hdnet.registry import download
            except ImportError as error:
                raise ModelError(
                    f"{source}: needs the model registry, `pip install hdnet[tracking]` ({error})"
                ) from error
            folder, identity = download(str(source))
            return cls(load_hdnet(folder / HDNET_FILE), identity, device)
        path = Path(source)
        return cls(load_hdnet(path / HDNET_FILE if path.is_dir() else path), None, device)

    def infer(
        self,
        image: np.ndarray,
        mask: np.ndarray | None,
        iuv: np.ndarray,
        camera: Camera | None = None,
        crop: bool = True,
    ) -> Prediction:
        """Predicts depth and normals of the person in the mask.

        The network believes that it looks at its 256 x 256 square through the camera that it was trained in.
        Its points p = z K^-1 (x, y, 1) and normals n are turned into the caller's camera by the smallest
        rotation R that takes the training camera's ray through the middle of the square onto the caller's ray
        through the same pixel: depth is the z of R p, normals are R n. So a model trained in the off-axis
        :meth:`Camera.reference`, whose middle looks 16.6 degrees to the side, gives upright people; with
        equal cameras R is the identity. The distance is the network's (the median of its training data is 4
        m), not measured, and a caller's focal length unlike the model's is not made up for: relief in metres
        stays, width and height follow the caller's camera.

        Args:
            image: (H, W, 3) uint8 RGB, with any background.
            mask: (H, W) bool, or uint8 of which values above 100 count. None is what
                :func:`hdnet.pictures.read_alpha` says of an opaque picture, and is refused.
            iuv: (H, W, 3) uint8 DensePose in the order I, U, V. As in training it is not cut off at the mask.
            camera: Camera of the picture. Without one it looks at the middle of the person, with the focal
                length of the model's camera in pixels of the square.
            crop: Cut out the square around the mask; False takes the whole picture, which then must be
                square.

        Returns:
            Depth, normals and mask of the size of ``image``. Pixels whose depth is not positive leave the
            mask.

        Raises:
            InputError: If the arrays do not fit together or show no person.
            ModelError: If the model gives values that are not finite, or no positive depth at all.
        """
        mask = _checked_mask(image, mask, iuv)
        square = Crop.around(mask) if crop else Crop.whole(*mask.shape)
        inputs_7hw, inside = network_inputs(image, mask, iuv, square)
        depth_m, normals = self._run(inputs_7hw)
        (top, bottom), (left, right) = bounds(mask)
        x, y = square.places(np.arange(left, right), np.arange(top, bottom))
        depth_m, normals = map_back(depth_m, normals, inside, x, y)
        model_camera = self.model.camera
        if camera is None:
            camera = default_camera(model_camera, square)
        rotation = rotation_between(model_camera, camera.crop(square.left, square.top, square.zoom))
        depth_m, normals = carry(depth_m, normals, x, y, model_camera, rotation)
        return self._assemble(image, mask, depth_m, normals, camera)

    def original_maps(self, image: np.ndarray, mask: np.ndarray | None, iuv: np.ndarray) -> OriginalMaps:
        """The networks' own maps of a 256 x 256 picture, as the original's inference script computes them.

        Nothing is cropped, resized or carried into another camera. The picture is white outside the mask, DensePose
        is not cut off there (quirk 57), depth is not masked.

        Args:
            image: (256, 256, 3) uint8 RGB, with any background.
            mask: (256, 256) bool, or uint8 of which values above 100 count.
            iuv: (256, 256, 3) uint8 DensePose in the order I, U, V.

        Returns:
            Depth and normals in the precision of the model's weights.

        Raises:
            InputError: If the arrays are of another size, do not fit together or show no person.
            ModelError: If the model gives values that are not finite.
        """
        mask = _checked_mask(image, mask, iuv)
        if mask.shape != (NETWORK_SIZE, NETWORK_SIZE):
            raise InputError(
                f"picture is {mask.shape[1]} x {mask.shape[0]} pixels; the original's results are made for exactly "
                f"{NETWORK_SIZE} x {NETWORK_SIZE}: cut out and resize picture, mask and DensePose first, or take our "
                "own format"
            )
        white_image = np.where(mask[..., None], image, np.uint8(255))
        inputs_hw7 = np.concatenate([white_image, iuv, mask[..., None]], axis=2)
        depth_m, normals = self._run(inputs_hw7.transpose(2, 0, 1).astype(np.float32))
        precision = np.float64 if self._dtype() == torch.float64 else np.float32
        return OriginalMaps(depth_m.astype(precision), normals.astype(precision), mask, white_image)

    def _dtype(self) -> torch.dtype:
        return next((p.dtype for p in self.model.parameters()), torch.float32)

    def _run(self, inputs_7hw: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(S, S) depth and (S, S, 3) normals in the model's camera."""
        with self._turn, torch.inference_mode():
            inputs_b7hw = torch.from_numpy(inputs_7hw)[None].to(self.device, self._dtype())
            outputs_4hw = self.model(inputs_b7hw)[0].double().cpu().numpy()
        inside = inputs_7hw[6] > 0
        if not np.isfinite(outputs_4hw[:, inside]).all():
            raise ModelError("model gives values that are not finite: its weights are damaged, train it again")
        return outputs_4hw[0], outputs_4hw[1:].transpose(1, 2, 0)

    def _assemble(
        self, image: np.ndarray, mask: np.ndarray, depth_m: np.ndarray, normals: np.ndarray, camera: Camera
    ) -> Prediction:
        """Puts the values of the mask's bounding box into pictures of full size."""
        (top, bottom), (left, right) = bounds(mask)
        box = (slice(top, bottom), slice(left, right))
        valid = np.zeros_like(mask)
        valid[box] = mask[box] & (depth_m > 0)
        if not valid.any():
            raise ModelError("the model puts no pixel in front of the camera: is it trained?")
        full_depth, full_normals = np.zeros(mask.shape, np.float32), np.zeros((*mask.shape, 3), np.float32)
        full_depth[box], full_normals[box] = depth_m, normals
        full_depth[~valid], full_normals[~valid] = 0, 0
        return Prediction(full_depth, full_normals, valid, image, camera, self.identity)


def default_camera(model_camera: Camera, square: Crop) -> Camera:
    """Camera of the whole picture that looks at the square's middle, with the model's focal length there."""
    fx, fy, _, _ = model_camera.pixel_intrinsics()
    middle = square.zoom * (NETWORK_SIZE - 1) / 2
    return Camera(fx * square.zoom, fy * square.zoom, square.left + middle, square.top + middle)


def rotation_between(model_camera: Camera, camera: Camera, size: int = NETWORK_SIZE) -> np.ndarray:
    """The smallest rotation that takes the model camera's ray through a square's middle onto the camera's.

    Args:
        model_camera: Camera that the network believes to look through.
        camera: The caller's camera of the same square.
        size: Pixels of the square along a side.

    Returns:
        (3, 3) float64; exactly the identity for equal cameras.
    """
    middle = np.array([(size - 1) / 2])
    start, end = (np.append(np.concatenate(_rays(c, middle, middle)), 1) for c in (model_camera, camera))
    start, end = start / np.linalg.norm(start), end / np.linalg.norm(end)
    # Rodrigues' formula; both rays look forward, so they are never opposite.
    x, y, z = np.cross(start, end)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    rotation: np.ndarray = np.eye(3) + cross + cross @ cross / (1 + start @ end)
    return rotation


def carry(
    depth_m: np.ndarray,
    normals: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    model_camera: Camera,
    rotation: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Expresses what the network saw through its own camera in the caller's: P = R (z ray), depth = P.z, R n.

    Args:
        depth_m: (H, W) z in the model's camera.
        normals: (H, W, 3) in the model's camera.
        x: (W,) columns in pixels of the model camera's picture.
        y: (H,) rows likewise.
        model_camera: Camera of the network.
        rotation: (3, 3) of :func:`rotation_between`.

    Returns:
        (H, W) and (H, W, 3) in the caller's camera, float32.
    """
    ray_x, ray_y = _rays(model_camera, x, y)
    along = rotation[2, 0] * ray_x[None, :] + rotation[2, 1] * ray_y[:, None] + rotation[2, 2]
    return (depth_m * along).astype(np.float32), (normals @ rotation.T).astype(np.float32)


def save_prediction(prediction: Prediction, out_dir: str | Path) -> dict[str, Path]:
    """Writes a prediction as files of a folder, which is made if need be.

    ``depth.npy`` float32 metres; ``depth.png`` 16-bit millimetres, 0 = background; ``normals.npy`` and
    ``normals.png``; ``mesh.obj`` (camera frame) and ``mesh.glb`` (y up); ``result.png`` = image | depth |
    normals; ``camera.json``.

    Returns:
        File by its name, for example ``{"depth.npy": Path(...)}``.

    Raises:
        InputError: If the mask is too thin for a mesh, or the folder cannot be written.
    """
    p, mesh = prediction, prediction.mesh()
    millimetre_png = encode_png(depth_millimetres(p.depth_m, p.mask))
    normals_png = encode_png(visualize.normal_picture(p.normals, p.mask))
    result_png = encode_png(visualize.panel(p.image, p.depth_m, p.normals, p.mask))
    writers: dict[str, Callable[[Path], object]] = {
        "depth.npy": lambda path: np.save(path, p.depth_m),
        "depth.png": lambda path: path.write_bytes(millimetre_png),
        "normals.npy": lambda path: np.save(path, p.normals),
        "normals.png": lambda path: path.write_bytes(normals_png),
        "mesh.obj": mesh.write_obj,
        "mesh.glb": lambda path: path.write_bytes(mesh.to_glb()),
        "result.png": lambda path: path.write_bytes(result_png),
        "camera.json": lambda path: path.write_text(json.dumps(p.camera.to_dict(), indent=2) + "\n"),
    }
    files = {name: Path(out_dir) / name for name in writers}
    try:
        Path(out_dir).mkdir(parents=True, exist_ok=True)
        for name, write in writers.items():
            write(files[name])
    except OSError as error:
        raise InputError(f"{out_dir}: cannot be written ({error.strerror or error})") from error
    return files


def depth_millimetres(depth_m: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """(H, W) uint16 millimetres, 0 outside the mask; inside at least 1, at most 65535 (65.5 m)."""
    return np.where(mask, np.rint(depth_m * 1000.0).clip(1, 65535), 0).astype(np.uint16)


def _checked_mask(image: np.ndarray, mask: np.ndarray | None, iuv: np.ndarray) -> np.ndarray:
    """The mask as bool, after everything that the caller may have got wrong."""
    if mask is None:
        raise InputError("no mask given, expected one, or a picture whose background is transparent")
    for name, picture in (("image", image), ("mask", mask), ("iuv", iuv)):
        if not isinstance(picture, np.ndarray):
            raise InputError(f"{name} is of type {type(picture).__name__}, expected a NumPy array")
    for name, picture in (("image", image), ("iuv", iuv)):
        if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
            raise InputError(f"{name} is {picture.dtype} of shape {picture.shape}, expected uint8 of shape (H, W, 3)")
    if mask.ndim != 2 or mask.dtype not in (np.bool_, np.uint8):
        raise InputError(f"mask is {mask.dtype} of shape {mask.shape}, expected bool or uint8 of shape (H, W)")
    sizes = {name: f"{p.shape[1]} x {p.shape[0]}" for name, p in (("image", image), ("mask", mask), ("iuv", iuv))}
    if len(set(sizes.values())) > 1:
        found = ", ".join(f"{name} {size}" for name, size in sizes.items())
        raise InputError(f"sizes differ: {found} pixels, expected three pictures of one size")
    inside = mask if mask.dtype == np.bool_ else mask_from_grey(mask, "mask")
    count = int(inside.sum())
    if count < MIN_MASK_PIXELS:
        found = f"covers {count} pixels" if count else "is empty"
        raise InputError(f"mask {found}, expected the silhouette of a person, at least {MIN_MASK_PIXELS} pixels")
    if (image[inside] == 255).all():
        raise InputError("mask covers nothing of the picture: all pixels under it are white background")
    parts = iuv[..., 0]
    if parts.max() > LAST_PART:
        raise InputError(
            f"iuv has body part {parts.max()}, expected 0..{LAST_PART} in its first channel (order I, U, V)"
        )
    if not parts[inside].any():
        raise InputError("iuv has no body part inside the mask: they show different people, or the map is empty")
    return inside


def _rays(camera: Camera, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """X and y of the rays K^-1 (x, y, 1) of columns and rows."""
    fx, fy, cx, cy = camera.pixel_intrinsics()
    return (x - cx) / fx, (y - cy) / fy
