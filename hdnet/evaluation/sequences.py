"""Evaluation on sequences without true depth: consistency of the body between frames, stability of the depth."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from hdnet.data.correspondence.body_turn import TorsoView, torso_turn_deg
from hdnet.errors import DataError, ModelError
from hdnet.evaluation.baselines import FLAT_PLANE, INFLATED_SILHOUETTE, MODEL, flat_plane_m, inflated_silhouette_m
from hdnet.evaluation.sequences_result import PairResult, SequenceResult
from hdnet.evaluation.sequences_sources import Frames, Pairs, Sample, iuv_of, open_frames, open_pairs, pairs_of
from hdnet.metrics.samples import camera_of, predict_sample
from hdnet.metrics.sequences import WARP_RESIDUAL, DepthView, inside_both, pair_metrics
from hdnet.models import HDNet, PersonModel

# A method's depth (H, W) of a frame in metres, in the frame's camera.
DepthOf = Callable[[Sample], np.ndarray]


def evaluate_sequence_folders(
    model: HDNet | PersonModel,
    frames: Path,
    pairs: Path | None = None,
    max_pairs: int | None = None,
    note: str = "",
    progress: bool = False,
) -> SequenceResult:
    """Measures a model and two baselines, a plane and the inflated silhouette, both at 4 m, on folders.

    ``frames`` as of :func:`hdnet.evaluation.sequences_sources.open_frames`; ``pairs`` are matches between them, packed
    or as text; None takes those beside the frames, or matches them anew. For the rest see :func:`measure_sequences`.
    """
    opened = open_frames(frames, scenes=isinstance(model, PersonModel))
    matched = pairs_of(frames, opened) if pairs is None else open_pairs(pairs, opened)
    methods: dict[str, DepthOf] = {
        MODEL: lambda sample: predict_sample(model, sample)[0],
        FLAT_PLANE: lambda sample: flat_plane_m(sample["mask"][0].numpy()),
        INFLATED_SILHOUETTE: lambda sample: inflated_silhouette_m(
            sample["mask"][0].numpy(), camera_of(sample["camera"])
        ),
    }
    return measure_sequences(methods, opened, matched, max_pairs, note, progress)


def measure_sequences(
    methods: Mapping[str, DepthOf],
    frames: Frames,
    pairs: Pairs,
    max_pairs: int | None = None,
    note: str = "",
    progress: bool = False,
) -> SequenceResult:
    """Measures the disagreement of depth maps of pairs of frames; see :func:`hdnet.metrics.sequences.pair_metrics`.

    Every method estimates every frame once.

    Args:
        methods: Functions from a frame to its depth, by name; "model" first.
        frames: The frames.
        pairs: Pairs of them.
        max_pairs: About so many pairs at most: those of evenly spread first frames.
        note: Description of the frames, for the table.
        progress: Show a progress bar on stderr.

    Raises:
        DataError: No pair has a match inside both masks, or a mask is empty; names the pair.
        ModelError: A depth is not finite or not above 0; names the pair.
    """
    order = _chosen(pairs.places, max_pairs)
    last_use = {int(place): k for k in order for place in pairs.places[k]}
    where, views, results = frames.where(), _Views(methods, frames), []
    digest, left_out = hashlib.sha256(), 0
    for k in tqdm(order, desc="sequences", unit="pair", disable=not progress, file=sys.stderr):
        i, j = (int(place) for place in pairs.places[k])
        names = frames.names[i], frames.names[j]
        first, second = views.of(i), views.of(j)
        rows = inside_both(pairs.rows(k), first.mask, second.mask)
        if len(rows):
            for piece in (*names, first.sha256, second.sha256):
                digest.update(piece.encode())
            digest.update(np.ascontiguousarray(rows, dtype="<i8").tobytes())
            results.append(_measured(names, where, first, second, rows))
        else:
            left_out += 1
        views.forget([place for place in (i, j) if last_use[place] == k])
    if not results:
        raise DataError("none of the pairs of frames has a match inside both masks; there is nothing to measure")
    return SequenceResult(tuple(results), digest.hexdigest(), left_out, note)


@dataclass(frozen=True, eq=False)
class _Frame:
    """State of a frame while its pairs are measured."""

    mask: np.ndarray
    torso: TorsoView
    sha256: str
    views: dict[str, DepthView]


class _Views:
    """Cache of frames with their depth by every method."""

    def __init__(self, methods: Mapping[str, DepthOf], frames: Frames) -> None:
        self._methods, self._frames = methods, frames
        self._known: dict[int, _Frame] = {}

    def of(self, k: int) -> _Frame:
        if k not in self._known:
            try:
                self._known[k] = self._make(self._frames.read(k))
            except (DataError, ModelError) as error:
                raise type(error)(f"frame {self._frames.names[k]}: {error}") from error
        return self._known[k]

    def forget(self, places: Sequence[int]) -> None:
        for k in places:
            self._known.pop(k, None)

    def _make(self, sample: Sample) -> _Frame:
        mask = sample["mask"][0].numpy()
        iuv, camera = iuv_of(sample), camera_of(sample["camera"])
        row, column = np.nonzero(iuv[..., 0])
        torso = TorsoView(iuv[row, column, 0].astype(np.int64), row, column)
        pictures = [np.ascontiguousarray(sample[key].numpy()).tobytes() for key in ("image", "vui", "mask", "camera")]
        views = {name: DepthView(depth_of(sample), mask, camera) for name, depth_of in self._methods.items()}
        return _Frame(mask, torso, hashlib.sha256(b"".join(pictures)).hexdigest(), views)


def _measured(
    names: tuple[str, str], where: Mapping[str, tuple[str, int]], first: _Frame, second: _Frame, rows: np.ndarray
) -> PairResult:
    (sequence, place_i), (sequence_j, place_j) = (where[name] for name in names)
    are_neighbours = sequence == sequence_j and abs(place_i - place_j) == 1
    values = {}
    for method, view in first.views.items():
        try:
            found = pair_metrics(view, second.views[method], rows)
        except (DataError, ModelError) as error:
            raise type(error)(f"frames {names[0]} and {names[1]}, {method}: {error}") from error
        values[method] = found if are_neighbours else {WARP_RESIDUAL: found[WARP_RESIDUAL]}
    turn_deg = torso_turn_deg(first.torso, second.torso, rows)
    return PairResult(*names, sequence, None if np.isnan(turn_deg) else turn_deg, values)


def _chosen(places: np.ndarray, max_pairs: int | None) -> list[int]:
    """Numbers of the pairs to measure: every two frames once; if too many, those of evenly spread first frames."""
    _, once = np.unique(np.sort(places, axis=1), axis=0, return_index=True)
    once = np.sort(once)
    if max_pairs is None or len(once) <= max_pairs:
        return [int(k) for k in once]
    firsts = np.unique(places[once, 0])
    wanted = max(1, round(len(firsts) * max_pairs / len(once)))
    kept = firsts[np.linspace(0, len(firsts) - 1, wanted).round().astype(int)]
    return [int(k) for k in once if places[k, 0] in kept]
