"""Adaptation of the network for photographs to one video: the joint stage of the paper on this very clip.

Pairs of frames, matched along the network's own body maps, have to agree after the rigid motion of each body part, and
their depth with the network's own normals from before; synthetic people keep the network what it is. Rounds of a few
steps are trained by the stages' engine. After each, the warp residual of frames that are held out, and the errors on
synthetic people that are held out, decide whether it was one for the better. Where a plane in the person's place has
no larger residual, nothing is learned: the matches then draw every depth towards it.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from torch import Tensor, nn

from hdnet import __version__
from hdnet.data.store.datasets import LabelledDataset, collate
from hdnet.data.store.packed import open_people
from hdnet.errors import DataError, TrainingError
from hdnet.extras import install_command
from hdnet.files import Finished, fingerprint, sha256_of
from hdnet.models import LiteEstimator, PersonModel
from hdnet.models.weights import load_estimator, load_hdnet, load_moments, save_estimator, save_hdnet
from hdnet.params import Params
from hdnet.params.overlay import preset_params
from hdnet.predict.inference import model_file
from hdnet.synthetic import synthesize
from hdnet.synthetic.raw import progress_bar, synthetic_spec
from hdnet.tracking.tracker import Tracker
from hdnet.training.checkpoint import CheckpointFolder
from hdnet.training.clip_pairs import ClipPairs, depth_of, divided, plane_of, read_windows, warp_residual_mm
from hdnet.training.engine import Engine
from hdnet.training.person_tasks import PersonTask
from hdnet.training.tasks import Batch, Stream
from hdnet.training.validation import HeldOutValidator
from hdnet.video.adapted import Adapted
from hdnet.video.clip import Options, follow, is_metric

logger = logging.getLogger(__name__)

_ROUND_STEPS = 20
# Rounds in a row without a smaller residual that end the adaptation.
_PATIENCE = 2
# Least fall of the residual that counts, and largest growth of an error on synthetic people.
_LEAST_FALL, _LARGEST_GROWTH = 0.01, 1.03
_ERRORS = ("normal_mean_deg", "depth_mae_mm")
# Synthetic people to learn from and to measure, and pictures of each; their seed is no training's.
_PEOPLE, _HELDOUT_PEOPLE, _PICTURES, _SEED = 12, 6, 4, 7_000_003
_TOO_INEXACT = "a plane fits the matches of the held-out frames no worse: they are too inexact to learn depth from"
_NO_GAIN = "no round had a smaller residual within the bound on synthetic people"
_FEWEST_PAIRS = 4


@dataclass(frozen=True)
class Measured:
    """Errors of weights.

    Attributes:
        step: Steps of the adaptation before.
        warp_mm: Mean distance of matched points of held-out pairs after the rigid motion of their body part.
        normal_mean_deg: Error of normals on held-out synthetic people.
        depth_mae_mm: Error of depth there.
    """

    step: int
    warp_mm: float
    normal_mean_deg: float
    depth_mae_mm: float

    def is_better_than(self, other: Measured) -> bool:
        """Return whether the residual is smaller."""
        return self.warp_mm < (1 - _LEAST_FALL) * other.warp_mm

    def keeps(self, start: Measured) -> bool:
        """Return whether the errors on synthetic people are within the bound."""
        return all(getattr(self, name) <= _LARGEST_GROWTH * getattr(start, name) for name in _ERRORS)


@dataclass(frozen=True)
class Adaptation:
    """Adapts the network to a video, see :class:`hdnet.video.adapted.Adapter`.

    Attributes:
        steps: Most steps; a step sees two pairs of frames and four synthetic people.
    """

    steps: int

    def __post_init__(self) -> None:
        if self.steps < _ROUND_STEPS:
            raise TrainingError(f"--adapt {self.steps}: expected {_ROUND_STEPS} steps or more")

    def __call__(self, video: Path, folder: Path, options: Options, progress: bool = False) -> Adapted:
        """Adapt the network.

        Raises:
            DataError: The generator's packages are missing, or too few frames of the video can be matched.
            TrainingError: Lightning is missing, or the training fails.
            HDNetError: As :func:`hdnet.video.frames.predict_video`.
        """
        _check_packages()
        work = folder / "adaptation"
        people = synthetic_people(work / "people", options.jobs, progress)
        found = follow(video, folder, options, progress)
        windows = read_windows(video, found, is_metric(options), progress)
        learned, heldout = (ClipPairs(part) for part in divided(windows))
        if min(len(learned), len(heldout)) < _FEWEST_PAIRS:
            raise DataError(
                f"{video}: {len(learned)} and {len(heldout)} pairs of frames to learn from and to hold out; expected "
                f"{_FEWEST_PAIRS} of each: three seconds of one person without a cut; leave --adapt away"
            )
        start = model_file(options.model)[0]
        return _Rounds(work, start, self.steps, *people, learned, heldout).run()


def synthetic_people(folder: Path, jobs: int = 1, progress: bool = False) -> tuple[LabelledDataset, LabelledDataset]:
    """Return synthetic people to learn from and held-out ones; those that are in the folder are not made again."""
    data = preset_params("photo").data.model_copy(update={"empty": 0.0, "pictures_per_person": _PICTURES})
    sets = []
    for name, count, seed in (("learned", _PEOPLE, _SEED), ("heldout", _HELDOUT_PEOPLE, _SEED + 1)):
        if not (folder / name).exists():
            label = f"synthetic people ({name})"
            with progress_bar(label) if progress else nullcontext() as shown:
                synthesize(folder / name, synthetic_spec(data, count, 0, seed), jobs, shown)
        sets.append(LabelledDataset(open_people(folder / name / "Tang_data"), scenes=True))
    return sets[0], sets[1]


class ClipTask(PersonTask):
    """The joint stage on one video: frames as a video shows them, without hints, at the clip's distances."""

    def _depths(self, model: nn.Module, pairs: Batch) -> tuple[Tensor, Tensor]:
        return depth_of(model, pairs["i"]), depth_of(model, pairs["j"])


class _Rounds:
    """The training, round by round; finished ones are found again after an interruption.

    Args:
        work: Folder for the rounds' weights and notes.
        start: Model file to begin with.
        steps: Most steps.
        people: Synthetic people to learn from.
        heldout_people: Synthetic people to measure on.
        learned: Pairs of frames to learn from.
        heldout: Pairs of frames to measure on.
    """

    def __init__(
        self,
        work: Path,
        start: Path,
        steps: int,
        people: LabelledDataset,
        heldout_people: LabelledDataset,
        learned: ClipPairs,
        heldout: ClipPairs,
    ) -> None:
        self.work, self.start, self.steps = work, start, steps
        self.people, self.learned, self.heldout = people, learned, heldout
        self.validator = HeldOutValidator(heldout_people)
        self.params = _params()
        self.finished = Finished(work)
        settings = [self.params.train_hdnet.model_dump(mode="json"), self.params.photo.model_dump(mode="json")]
        self.made_from = fingerprint([__version__, sha256_of(start), len(learned), len(heldout), settings])

    def run(self) -> Adapted:
        """Train until the residual of the held-out frames no longer falls, or to the last step."""
        model = load_hdnet(self.start, PersonModel).estimator
        model.freeze(self.params.photo.frozen_blocks)
        first = best = self._noted("round-000", partial(self._measure, model, 0))
        rounds, since_best, best_file = [first], 0, None
        plane_mm = self._plane_mm()
        most = self.steps // _ROUND_STEPS if first.warp_mm < plane_mm else 0
        reason = _TOO_INEXACT if most == 0 else _NO_GAIN
        for number in range(1, most + 1):
            file = self._file(number)
            found = self._noted(file.stem, partial(self._trained, model, number), file)
            rounds.append(found)
            logger.info(
                "adaptation, step %d: held-out frames %.1f mm, synthetic people %.2f deg, %.1f mm",
                *(found.step, found.warp_mm, found.normal_mean_deg, found.depth_mae_mm),
            )
            if found.is_better_than(best) and found.keeps(first):
                best, best_file, since_best = found, file, 0
            else:
                since_best += 1
            if since_best == _PATIENCE:
                break
        report = {
            "from_sha256": sha256_of(self.start),
            "steps": rounds[-1].step,
            "kept_step": best.step,
            "learned_pairs": len(self.learned),
            "heldout_pairs": len(self.heldout),
            "plane_warp_mm": round(plane_mm, 3),
            "measured": [{name: round(value, 3) for name, value in asdict(one).items()} for one in rounds],
        }
        if best_file is None:
            return Adapted(None, report | {"reason": reason})
        return Adapted(self._saved(best_file), report)

    def _plane_mm(self) -> float:
        """Residual of a person without any shape: with exact matches far above that of the true shape."""
        return warp_residual_mm(plane_of, self.heldout)

    def _file(self, number: int) -> Path:
        return self.work / f"round-{number:03d}.safetensors"

    def _noted(self, name: str, make: Callable[[], Measured], file: Path | None = None) -> Measured:
        """Return what an earlier run has measured, if its file is still there; else make and note it."""
        done = self.finished.get(name, self.made_from)
        if done is not None and (file is None or file.exists()):
            return Measured(**done)
        found = make()
        self.finished.put(name, self.made_from, asdict(found))
        return found

    def _trained(self, model: LiteEstimator, number: int) -> Measured:
        """Train a round from the weights before it, write the weights with Adam's moments, and measure them."""
        before, moments = self._file(number - 1), None
        if number > 1:
            model.load_state_dict(load_estimator(before, LiteEstimator).state_dict())
            moments = load_moments(before)
        joint = self.params.train_hdnet
        labelled = Stream(self.people, joint.batch_size, collate)
        pairs = Stream(self.learned, joint.pairs_per_step, collate)
        task = ClipTask("train_hdnet", model, labelled, self.params.photo, joint.steps, pairs, joint)
        task.name = f"adapt, round {number}"
        checkpoints = CheckpointFolder(self.work / f"checkpoints-{number:03d}", keep=1)
        engine = Engine(
            *(task, joint, self.params.runtime, checkpoints, Tracker()),
            seed=self.params.seed + number,
            moments=moments,
            augmentation=task.augmentation(self.params),
        )
        engine.run()
        model.to("cpu")
        save_estimator(self._file(number), model, {"stage": task.name}, engine.moments)
        shutil.rmtree(checkpoints.folder)
        return self._measure(model, number * _ROUND_STEPS)

    def _measure(self, model: LiteEstimator, step: int) -> Measured:
        errors = self.validator(model)
        model.eval()
        residual_mm = warp_residual_mm(partial(depth_of, model), self.heldout)
        return Measured(step, residual_mm, *(errors[name] for name in _ERRORS))

    def _saved(self, best: Path) -> Path:
        """Write the chosen weights as a complete model, named by what they are."""
        camera = load_hdnet(self.start, PersonModel).camera
        model = PersonModel(load_estimator(best, LiteEstimator), camera)
        about = {"stage": "adaptation to a video", "start": sha256_of(self.start)}
        written = self.work / "adapted.safetensors"
        save_hdnet(written, model, about)
        # A name of its own, as processes keep a model by its name.
        return written.replace(self.work / f"adapted-{sha256_of(written)[:16]}.safetensors")


def _params() -> Params:
    """Parameters of a round: preset ``photo``, the encoder frozen, at the size that videos are looked at."""
    params = preset_params("photo")
    joint = params.train_hdnet.model_copy(
        update={
            "steps": _ROUND_STEPS,
            "batch_size": 4,
            "pairs_per_step": 2,
            "learning_rate": 1e-4,
            "schedule": "constant",
            "warmup_steps": 0,
            "ema_decay": None,
            "pair_weighting": "equal",
        }
    )
    runtime = params.runtime.model_copy(
        update={"device": "cpu", "precision": "32", "log_every": 5, "checkpoint_every": 10**6, "panel_every": 10**6}
    )
    photo = params.photo.model_copy(update={"frozen_blocks": 99, "sizes": (256,)})
    return params.model_copy(update={"train_hdnet": joint, "runtime": runtime, "photo": photo})


def _check_packages() -> None:
    """Raise before anything is done where the training's packages are missing."""
    try:
        import lightning_fabric  # noqa: F401 - optional package
    except ImportError as error:
        raise TrainingError(
            f"--adapt trains, which needs Lightning Fabric; {install_command('train')} ({error})"
        ) from error
