"""A model that is asked: depth and normals of a picture of any size, by one network or by two hourglasses."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hdnet.errors import ModelError
from hdnet.extras import install_command
from hdnet.geometry import Camera
from hdnet.models import HDNet, ModelIdentity, PersonModel
from hdnet.models.identity import REGISTRY_SCHEMES
from hdnet.models.lite import PersonMaps
from hdnet.models.weights import HDNET_FILE, load_hdnet
from hdnet.pictures import faults
from hdnet.pictures.checks import Photo, Pictures, check_photo, check_pictures
from hdnet.pictures.reading import IuvOrder
from hdnet.predict.detail import look_again
from hdnet.predict.finding import find_people
from hdnet.predict.hourglasses import (
    PreparedPictures,
    finish_pictures,
    original_maps,
    prepare_original,
    prepare_pictures,
)
from hdnet.predict.original_outputs import OriginalMaps
from hdnet.predict.person import PreparedPhoto, finish_photo, person_maps, prepare_photo
from hdnet.predict.prediction import Box, Prediction
from hdnet.predict.runtime_names import Outputs
from hdnet.predict.runtimes import AUTO, choose_runtime, make_runtime
from hdnet.predict.runtimes.pytorch import TorchRuntime
from hdnet.predict.sources import PictureSource, read_photograph
from hdnet.workspace import SHIPPED, SHIPPED_SOURCE

PreparedPicture = PreparedPictures | PreparedPhoto
"""A picture as the model takes it: two hourglasses, or a network for photographs."""


class Predictor:
    """Runs a model on pictures of any size. Calls from several threads take turns.

    A model for photographs (:class:`hdnet.models.PersonModel`) needs the picture alone; two hourglasses need a
    mask and a DensePose map as well.

    :meth:`infer` is :meth:`prepare`, :meth:`run` and :meth:`finish` in a row. A service may call them separately: the
    first and the last may run in any thread, ``run`` takes several pictures at once. A model for photographs looks at
    the picture in :meth:`prepare` already.

    Args:
        model: The network; moved to ``device``.
        identity: The registered model that it is.
        device: PyTorch device.
        runtime: Runtime of the networks, one of :data:`hdnet.predict.runtimes.RUNTIMES`, or "auto" for the fastest
            that is accurate enough, by measurement.
        threads: CPU threads of the networks; None leaves the choice to the runtime.
        candidates: Runtimes that "auto" measures beside "torch"; None for all that suit the device.

    Attributes:
        finds_people: The model needs neither mask nor DensePose map.
        is_metric: The model has learned the size of people, and tells their distance.
        camera: The camera that the model was trained in.
        runtime: The runtime of the networks.
        choice: Measurements of "auto"; None for a runtime by name.
    """

    def __init__(
        self,
        model: HDNet | PersonModel,
        identity: ModelIdentity | None = None,
        device: str = "cpu",
        runtime: str = "torch",
        threads: int | None = None,
        candidates: Sequence[str] | None = None,
    ) -> None:
        self.identity = identity
        self.finds_people = isinstance(model, PersonModel)
        self.is_metric = isinstance(model, PersonModel) and model.estimator.config.metric
        self.camera = model.camera
        self.choice = choose_runtime(model, threads, candidates, device) if runtime == AUTO else None
        self.runtime = self.choice.runtime if self.choice else make_runtime(runtime, model, threads, device)
        self._turn = threading.Lock()

    @classmethod
    def load(
        cls,
        source: str | Path,
        device: str = "cpu",
        runtime: str = "torch",
        threads: int | None = None,
        candidates: Sequence[str] | None = None,
    ) -> Predictor:
        """Loads a model.

        Args:
            source: A registry URI such as ``models:/hdnet@champion``, a folder with ``hdnet.safetensors``, that
                file, or "shipped" for the model for photographs that comes with the package.
            device: PyTorch device.
            runtime: As of the class.
            threads: As of the class.
            candidates: As of the class.

        Raises:
            ModelError: If there is no such model, it cannot be read, or the runtime cannot take it.
        """
        model, identity = load_source(source)
        return cls(model, identity, device, runtime, threads, candidates)

    def predict(
        self,
        image: PictureSource,
        mask: PictureSource | None = None,
        densepose: PictureSource | None = None,
        *,
        camera: Camera | None = None,
        fx: float | None = None,
        fov_deg: float | None = None,
        box: Box | None = None,
        height_m: float | None = None,
        detail: bool = False,
        order: IuvOrder = "vui",
    ) -> Prediction:
        """Predicts depth and normals of a photograph in any form: :meth:`infer` with all that the file says.

        Args:
            image: Path, file's bytes, PIL image or (H, W, 3) uint8 RGB array. EXIF says how it stands and, unless the
                caller does, its camera; transparency is a mask.
            mask: Mask of the person, white on black; models for photographs find the person without one.
            densepose: DensePose map; two hourglasses need one.
            camera: Camera of the upright picture.
            fx: Its focal length in pixels instead.
            fov_deg: Its vertical field of view in degrees instead.
            box: As of :meth:`infer`.
            height_m: As of :meth:`infer`.
            detail: As of :meth:`infer`.
            order: Channel order of a DensePose map in a file: V, U, I, or I, U, V.

        Raises:
            InputError: As :meth:`infer`, or a file cannot be read.
            ModelError: As :meth:`infer`.
        """
        photo = read_photograph(image, mask, densepose, order=order, camera=camera, fx=fx, fov_deg=fov_deg)
        return self.infer(
            photo.image, photo.mask, photo.iuv, photo.camera.camera, box=box, height_m=height_m, detail=detail
        )

    def infer(
        self,
        image: np.ndarray,
        mask: np.ndarray | None = None,
        iuv: np.ndarray | None = None,
        camera: Camera | None = None,
        crop: bool = True,
        box: Box | None = None,
        height_m: float | None = None,
        detail: bool = False,
    ) -> Prediction:
        """Predicts depth and normals of the person in the mask.

        A model for photographs gives the person's relief, which the caller's camera turns into depth: with another
        focal length the body keeps its proportions. :attr:`Prediction.scale` says where the person's distance comes
        from. Without a mask it finds the person itself: of several the one that the picture is most likely about.

        Two hourglasses: the network sees its 256 x 256 square as if through the camera that it was trained in. Its
        points p = z K^-1 (x, y, 1) and normals n are turned into the caller's camera by the smallest rotation R that
        takes the training camera's ray through the centre of the square onto the caller's ray through the same
        pixel: depth is the z of R p, normals are R n. A model trained in the off-axis :meth:`Camera.reference`,
        whose centre looks 16.6 degrees to the side, therefore gives upright people; with equal cameras R is the
        identity. The distance is the network's (the median of its training data is 4 m), not measured. A caller's
        focal length unlike the model's is not compensated: relief in metres stays, width and height follow the
        caller's camera.

        Args:
            image: (H, W, 3) uint8 RGB, with any background.
            mask: (H, W) bool, or uint8 of which values above 100 count. None, which
                :func:`hdnet.pictures.reading.read_alpha` gives for an opaque picture, is refused by hourglasses.
            iuv: (H, W, 3) uint8 DensePose in the order I, U, V. As in training it is not cut off at the mask, but body
                parts further away than 3 % of the square, somebody else's, are. Models for photographs only compare
                it with the mask.
            camera: Camera of the picture. Without one it looks at the middle of the person, with the focal
                length of the model's camera in pixels of the square.
            crop: Cut out the square around the mask; False takes the whole picture, which for hourglasses must be
                square.
            box: Left, top, right, bottom of the person meant, in pixels, instead of a mask; models for photographs.
            height_m: Height of the person, who stands and is seen from head to feet; models for photographs.
            detail: Look again, as :meth:`detailed`.

        Returns:
            Depth, normals and mask of the size of ``image``. Pixels whose depth is not positive leave the
            mask.

        Raises:
            InputError: If the arrays do not fit together or show no person.
            ModelError: If the model gives values that are not finite, or no positive depth at all.
        """
        return self.answer(self.prepare(self.check(image, mask, iuv), camera, crop, box, height_m), detail)

    def answer(self, prepared: PreparedPicture, detail: bool = False) -> Prediction:
        """:meth:`run` and :meth:`finish` of one picture; ``detail`` and errors as of :meth:`infer`."""
        outputs = self.run([prepared])[0]
        if detail:
            prepared, outputs = self.detailed(prepared, outputs)
        return self.finish(prepared, outputs)

    def find(self, image: np.ndarray) -> tuple[Box, ...]:
        """Find all people of a picture, more thoroughly than :meth:`infer`, which is about one.

        Args:
            image: (H, W, 3) uint8 RGB.

        Returns:
            Boxes that :meth:`infer` takes, the person first whom the picture is most likely about.

        Raises:
            InputError: If there is nobody, or the model is of two hourglasses, which find nobody.
        """
        if not self.finds_people:
            raise faults.FOR_PHOTOGRAPHS.error("box")
        return tuple(one.box for one in find_people(check_photo(image, None).image, self._look, everyone=True))

    def check(self, image: np.ndarray, mask: np.ndarray | None, iuv: np.ndarray | None) -> Pictures | Photo:
        """Checks a caller's pictures, as far as the model needs them; arguments as of :meth:`infer`.

        Raises:
            InputError: With a code of :mod:`hdnet.pictures.faults`.
        """
        if self.finds_people:
            return check_photo(image, mask, iuv)
        if iuv is None:
            raise faults.MISSING_DENSEPOSE.error()
        return check_pictures(image, mask, iuv)

    def prepare(
        self,
        pictures: Pictures | Photo,
        camera: Camera | None = None,
        crop: bool = True,
        box: Box | None = None,
        height_m: float | None = None,
    ) -> PreparedPicture:
        """Cuts out what the network reads; arguments as of :meth:`infer`.

        Raises:
            InputError: If the mask is too thin, no person is found, the picture is not square where nothing is
                cropped, or the model does not take a box or a height.
        """
        if self.finds_people:
            return prepare_photo(Photo(pictures.image, pictures.mask), camera, crop, self._look, box, height_m)
        if box is not None or height_m is not None:
            raise faults.FOR_PHOTOGRAPHS.error("box" if height_m is None else "height_m")
        if isinstance(pictures, Photo):
            raise faults.MISSING_DENSEPOSE.error()
        return prepare_pictures(pictures, camera, crop)

    def run(self, prepared: Sequence[PreparedPicture]) -> list[Outputs]:
        """The networks' outputs of one or more pictures, computed together.

        Returns:
            What :class:`hdnet.predict.runtimes.Runtime` gives, a picture; none depends on the others.
        """
        if not prepared:
            return []
        inputs_bchw = np.stack(
            [one.inputs_4hw if isinstance(one, PreparedPhoto) else one.inputs_7hw for one in prepared]
        )
        with self._turn:
            outputs = self.runtime(inputs_bchw)
        return list(zip(*outputs, strict=True)) if isinstance(outputs, tuple) else list(outputs)

    def detailed(self, prepared: PreparedPicture, outputs: Outputs) -> tuple[PreparedPicture, Outputs]:
        """Looks again, mirrored, and both ways at 384 pixels where the photograph has them.

        See :mod:`hdnet.predict.detail`.

        Args:
            prepared: The picture.
            outputs: What :meth:`run` gave for it.

        Returns:
            What :meth:`finish` takes; better normals for two to eight times the network's time.

        Raises:
            InputError: The model is of two hourglasses.
            ModelError: The runtime takes pictures of 256 x 256 alone.
        """
        if not isinstance(prepared, PreparedPhoto):
            raise faults.FOR_PHOTOGRAPHS.error("detail")
        if not isinstance(self.runtime, TorchRuntime):
            raise ModelError(f"detail needs pictures of other sizes than runtime {self.runtime.name} takes; take torch")
        return look_again(prepared, outputs, self._look)

    def finish(self, prepared: PreparedPicture, outputs: Outputs) -> Prediction:
        """Maps the networks' outputs back to the picture and into the caller's camera.

        Args:
            prepared: The picture.
            outputs: What :meth:`run` gave for it.

        Raises:
            InputError: If there is no person where the model for photographs looks.
            ModelError: If the outputs are not finite, or no depth is positive.
        """
        if isinstance(prepared, PreparedPhoto):
            return finish_photo(prepared, outputs, self.camera, self.identity, self.is_metric)
        return finish_pictures(prepared, outputs, self.camera, self.identity)

    def _look(self, inputs_4hw: np.ndarray) -> PersonMaps:
        with self._turn:
            outputs = self.runtime(inputs_4hw[None])
        return person_maps(tuple(one[0] for one in outputs))

    def original_maps(self, image: np.ndarray, mask: np.ndarray | None, iuv: np.ndarray | None) -> OriginalMaps:
        """The networks' own maps of a 256 x 256 picture, as the original's inference script computes them.

        Nothing is cropped, resized or carried into another camera. The picture is white outside the mask, DensePose
        is not cut off there (docs/parity.md, 57), depth is not masked.

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
        if self.finds_people:
            raise ModelError("a model for photographs has no outputs in the original's format; take our own format")
        if iuv is None:
            raise faults.MISSING_DENSEPOSE.error()
        prepared = prepare_original(check_pictures(image, mask, iuv, keep_all=True))
        return original_maps(prepared, self.run([prepared])[0])


def load(
    source: str | Path = SHIPPED_SOURCE,
    device: str = "cpu",
    runtime: str = "torch",
    threads: int | None = None,
) -> Predictor:
    """Loads a model; without a source the one for photographs that comes with the package.

    Args:
        source: As of :meth:`Predictor.load`.
        device: PyTorch device.
        runtime: As of :class:`Predictor`.
        threads: As of :class:`Predictor`.

    Raises:
        ModelError: If there is no such model, it cannot be read, or the runtime cannot take it.
    """
    return Predictor.load(source, device, runtime, threads)


def load_source(source: str | Path) -> tuple[HDNet | PersonModel, ModelIdentity | None]:
    """The model of a source and its registered version, if it has one; ``source`` as of :meth:`Predictor.load`.

    Raises:
        ModelError: If there is no such model, or it cannot be read.
    """
    path, identity = model_file(source)
    return load_hdnet(path), identity


def model_file(source: str | Path) -> tuple[Path, ModelIdentity | None]:
    """The file of a source and its registered version, if it has one; ``source`` as of :meth:`Predictor.load`.

    Raises:
        ModelError: If the registry has no such model.
    """
    if str(source) == SHIPPED_SOURCE:
        return SHIPPED, None
    if str(source).startswith(REGISTRY_SCHEMES):
        try:
            from hdnet.tracking.versions import download  # optional package
        except ImportError as error:
            raise ModelError(
                f"{source}: needs the model registry, `{install_command('tracking')}` ({error})"
            ) from error
        folder, identity = download(str(source))
        return folder / HDNET_FILE, identity
    if "://" in str(source) or str(source).startswith("mlflow-artifacts:"):
        raise ModelError(
            f"{source}: is not read from there; expected models:/..., runs:/..., a folder, or a file; get it by "
            "`mlflow artifacts download --artifact-uri URI --dst-path FOLDER` and give the folder"
        )
    path = Path(source)
    if path.is_dir():
        files = path / HDNET_FILE, path / "extra_files" / HDNET_FILE  # the second of a version of MLflow
        return next((file for file in files if file.is_file()), files[0]), None
    return path, None
