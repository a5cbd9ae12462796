"""Labelled people of a packed folder or one in the Tang layout; models by any name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Subset

from hdnet.data.layout.folders import TANG
from hdnet.data.store.batches import PreparedItems
from hdnet.data.store.datasets import Item, LabelledDataset
from hdnet.data.store.packed import open_people
from hdnet.data.store.people import PackedPeople
from hdnet.data.store.records import FIELDS_OF_KIND, OPTIONAL_FIELDS_OF_KIND, LabelledRecords
from hdnet.data.store.shards import INDEX_FILE, Shard
from hdnet.errors import DataError
from hdnet.metrics.samples import Samples

_NOTES = {
    "densepose": "The data has no DensePose: the model was given IUV of zeros, which it has not seen in training, and "
    "errors are not broken down by body part.",
    "normal": "The data has no true normals: there is no metric of them.",
}


@dataclass(frozen=True, eq=False)
class LabelledPeople:
    """Samples to measure on.

    Attributes:
        samples: Prepared items, see :func:`hdnet.evaluation.evaluate`.
        names: Their names.
        notes: Remarks on what the data lacks.
        facts: (N,) structured, what is known of each picture of synthetic people; None of others.
    """

    samples: Samples
    names: Sequence[str]
    notes: tuple[str, ...] = ()
    facts: np.ndarray | None = None


def open_labelled(folder: Path, scenes: bool = False) -> LabelledPeople:
    """Opens a packed folder of labelled people, or one in the Tang layout, which is parsed sample by sample.

    Of the Tang layout ``densepose/`` and ``normal/`` may be missing as a whole.

    Args:
        folder: Output of ``hdnet data pack``, ``Tang_data``, or a folder that holds ``Tang_data``.
        scenes: Read the pictures with their backgrounds.

    Raises:
        DataError: It is neither, or damaged, or there are no pictures with background.
    """
    folder = Path(folder)
    if (folder / INDEX_FILE).is_file():
        packed = open_people(folder)
        dataset = LabelledDataset(packed, scenes=scenes)
        if isinstance(packed, PackedPeople):
            return _with_somebody(dataset, packed)
        return LabelledPeople(PreparedItems(dataset), packed.names)
    if (folder / TANG).is_dir():
        folder = folder / TANG
    without = tuple(kind for kind in _NOTES if not (folder / kind).is_dir())
    records = LabelledRecords(folder, without=without)
    names = records.names()
    notes = tuple(_NOTES[kind] for kind in without)
    if scenes and not records.optional_fields(names):
        raise DataError(f"{folder / 'color'}: expected a picture with background of every sample, as 0000000.png")
    return LabelledPeople(PreparedItems(_RawDataset(records, names, scenes)), names, notes)


def _with_somebody(dataset: LabelledDataset, packed: PackedPeople) -> LabelledPeople:
    """The pictures of somebody: in those without anybody there is nothing to measure."""
    facts = packed.facts
    if not packed.empty:
        return LabelledPeople(PreparedItems(dataset), packed.names, facts=facts)
    kept = [k for k in range(len(packed)) if packed.record(k, ("mask",))["mask"].any()]
    notes = (f"Pictures without anybody are left out: {packed.empty}.",)
    shown = PreparedItems(Subset(dataset, kept))
    return LabelledPeople(shown, [packed.names[k] for k in kept], notes, facts[kept])


class _RawDataset:
    """The items of a packed data set, made from a raw folder; without normals where the folder has none."""

    def __init__(self, records: LabelledRecords, names: Sequence[str], scenes: bool) -> None:
        self._records, self._names = records, names
        optional = OPTIONAL_FIELDS_OF_KIND[records.kind] if scenes else {}
        self._fields = (*FIELDS_OF_KIND[records.kind], *optional)

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, k: int) -> Item:
        name = self._names[k]
        (record,) = self._records.records(Shard("", k, (name,)))
        item: Item = {field: torch.from_numpy(np.ascontiguousarray(record[field])) for field in self._fields}
        item["camera"] = self._records.source.camera(name).as_tensor()
        if "normal" in self._records.without:
            del item["normals"]
        return item
