"""From a picture of any size, its mask and its DensePose map to depth, normals and a mesh."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hdnet import visualize
from hdnet.errors import InputError, ModelError
from hdnet.geometry import Camera
from hdnet.models import HDNet, ModelIdentity
from hdnet.models.weights import HDNET_FILE, load_hdnet
from hdnet.pictures.caller_camera import carry, default_camera, rotation_between
from hdnet.pictures.crop import NETWORK_SIZE, bounds, map_back
from hdnet.pictures.reading import encode_png
from hdnet.predict.mesh import Mesh, depth_to_mesh
from hdnet.predict.original_outputs import OriginalMaps
from hdnet.predict.preparation import Prepared, checked_mask, prepare
from hdnet.predict.runtimes import AUTO, TORCH, choose_runtime, make_runtime

MODEL_URI = "models:/"

__all__ = [
    "Prediction",
    "Predictor",
    "Prepared",
    "carry",
    "default_camera",
    "depth_millimetres",
    "load_source",
    "rotation_between",
    "save_prediction",
]


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

    :meth:`infer` is :meth:`prepare`, :meth:`run` and :meth:`finish` in a row. A service may call them apart: the first
    and the last need no network and may run in any thread, ``run`` takes several pictures at once.

    Args:
        model: The network; moved to ``device``.
        identity: Which registered model it is.
        device: PyTorch device.
        runtime: What computes the networks, one of :data:`hdnet.predict.runtimes.RUNTIMES`, or "auto" to measure
        which of them
            is the fastest here and accurate enough.
        threads: Of the processor for the networks; None leaves the choice to the runtime.
        candidates: What "auto" measures beside "torch"; None for all that suit the device.

    Attributes:
        camera: The camera that the model was trained in.
        runtime: What computes the networks.
        choice: What "auto" measured; None for a runtime by name.
    """

    def __init__(
        self,
        model: HDNet,
        identity: ModelIdentity | None = None,
        device: str = "cpu",
        runtime: str = TORCH,
        threads: int | None = None,
        candidates: Sequence[str] | None = None,
    ) -> None:
        self.identity = identity
        self.camera = model.camera
        self.choice = choose_runtime(model, threads, candidates, device) if runtime == AUTO else None
        self.runtime = self.choice.runtime if self.choice else make_runtime(runtime, model, threads, device)
        self._turn = threading.Lock()

    @classmethod
    def load(
        cls,
        source: str | Path,
        device: str = "cpu",
        runtime: str = TORCH,
        threads: int | None = None,
        candidates: Sequence[str] | None = None,
    ) -> Predictor:
        """Loads a model.

        Args:
            source: A registry URI such as ``models:/hdnet@champion``, a folder with ``hdnet.safetensors``, or
                that file.
            device: PyTorch device.
            runtime: As of the class.
            threads: As of the class.
            candidates: As of the class.

        Raises:
            ModelError: If there is no such model, it cannot be read, or the runtime cannot take it.
        """
        model, identity = load_source(source)
        return cls(model, identity, device, runtime, threads, candidates)

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
                :func:`hdnet.pictures.reading.read_alpha` says of an opaque picture, and is refused.
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
        prepared = self.prepare(image, mask, iuv, camera, crop)
        return self.finish(prepared, self.run([prepared])[0])

    def prepare(
        self,
        image: np.ndarray,
        mask: np.ndarray | None,
        iuv: np.ndarray,
        camera: Camera | None = None,
        crop: bool = True,
    ) -> Prepared:
        """Checks the pictures and cuts out what the network reads; arguments as of :meth:`infer`.

        Raises:
            InputError: If the arrays do not fit together or show no person.
        """
        return prepare(image, mask, iuv, camera, crop)

    def run(self, prepared: Sequence[Prepared]) -> list[np.ndarray]:
        """The networks' outputs of one or more pictures, computed together.

        Returns:
            (4, 256, 256) a picture, as :class:`hdnet.predict.runtimes.Runtime` gives them; none depends on the others.
        """
        if not prepared:
            return []
        inputs_b7hw = np.stack([one.inputs_7hw for one in prepared])
        with self._turn:
            return list(self.runtime(inputs_b7hw))

    def finish(self, prepared: Prepared, outputs_4hw: np.ndarray) -> Prediction:
        """Maps the networks' outputs back to the picture and into the caller's camera.

        Args:
            prepared: The picture.
            outputs_4hw: (4, 256, 256), what :meth:`run` gave for it.

        Raises:
            ModelError: If the outputs are not finite, or no depth is positive.
        """
        depth_m, normals = _maps(outputs_4hw, prepared.inside)
        square = prepared.square
        (top, bottom), (left, right) = bounds(prepared.mask)
        x, y = square.places(np.arange(left, right), np.arange(top, bottom))
        depth_m, normals = map_back(depth_m, normals, prepared.inside, x, y)
        camera = prepared.camera or default_camera(self.camera, square)
        rotation = rotation_between(self.camera, camera.crop(square.left, square.top, square.zoom))
        depth_m, normals = carry(depth_m, normals, x, y, self.camera, rotation)
        return self._assemble(prepared, depth_m, normals, camera)

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
        mask = checked_mask(image, mask, iuv)
        if mask.shape != (NETWORK_SIZE, NETWORK_SIZE):
            raise InputError(
                f"picture is {mask.shape[1]} x {mask.shape[0]} pixels; the original's results are made for exactly "
                f"{NETWORK_SIZE} x {NETWORK_SIZE}: cut out and resize picture, mask and DensePose first, or take our "
                "own format"
            )
        prepared = self.prepare(image, mask, iuv, crop=False)
        depth_m, normals = _maps(self.run([prepared])[0], prepared.inside)
        white_image = np.where(mask[..., None], image, np.uint8(255))
        return OriginalMaps(depth_m, normals, mask, white_image)

    def _assemble(self, prepared: Prepared, depth_m: np.ndarray, normals: np.ndarray, camera: Camera) -> Prediction:
        """Puts the values of the mask's bounding box into pictures of full size."""
        mask = prepared.mask
        (top, bottom), (left, right) = bounds(mask)
        box = (slice(top, bottom), slice(left, right))
        valid = np.zeros_like(mask)
        np.logical_and(mask[box], depth_m > 0, out=valid[box])
        if not valid[box].any():
            raise ModelError("the model puts no pixel in front of the camera: is it trained?")
        full_depth, full_normals = np.zeros(mask.shape, np.float32), np.zeros((*mask.shape, 3), np.float32)
        np.copyto(full_depth[box], depth_m, where=valid[box])
        np.copyto(full_normals[box], normals, where=valid[box][..., None])
        return Prediction(full_depth, full_normals, valid, prepared.image, camera, self.identity)


def load_source(source: str | Path) -> tuple[HDNet, ModelIdentity | None]:
    """The model that a source names, and which registered version it is; arguments as of :meth:`Predictor.load`.

    Raises:
        ModelError: If there is no such model, or it cannot be read.
    """
    if str(source).startswith(MODEL_URI):
        try:
            from hdnet.tracking.versions import download
        except ImportError as error:
            raise ModelError(f"{source}: needs the model registry, `pip install hdnet[tracking]` ({error})") from error
        folder, identity = download(str(source))
        return load_hdnet(folder / HDNET_FILE), identity
    path = Path(source)
    return load_hdnet(path / HDNET_FILE if path.is_dir() else path), None


def _maps(outputs_4hw: np.ndarray, inside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(S, S) depth and (S, S, 3) normals in the model's camera."""
    if not np.isfinite(outputs_4hw[:, inside]).all():
        raise ModelError("model gives values that are not finite: its weights are damaged, train it again")
    return outputs_4hw[0], outputs_4hw[1:].transpose(1, 2, 0)


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
