"""Records of varying length, as compressed pictures would be."""

import numpy as np
import pytest

from hdnet.data.store.reading import PackedRows
from hdnet.data.store.shards import write_index, write_shard
from hdnet.errors import DataError


class Blobs(PackedRows):
    kind = "blobs"
    row = np.dtype("u1")


def test_bytes_of_varying_length_round_trip(tmp_path):
    blobs = [b"picture", b"", b"another one"]
    entries = {}
    for k, some in enumerate((blobs[:2], blobs[2:])):
        blocks = (np.frombuffer(blob, np.uint8) for blob in some)
        entries[f"rows-{k:05d}.npy"] = {
            **write_shard(tmp_path / f"rows-{k:05d}.npy", Blobs.row, blocks),
            "records": len(some),
        }
    offsets = np.cumsum([0, *map(len, blobs)])
    write_index(tmp_path, "blobs", ["a", "b", "c"], entries, {"offsets": offsets}, {})
    packed = Blobs(tmp_path)
    assert [packed.rows(k).tobytes() for k in range(len(packed))] == blobs
    assert np.load(tmp_path / "rows-00000.npy").tobytes() == b"picture"
    packed.verify()
    (tmp_path / "offsets.npy").unlink()
    with pytest.raises(DataError, match=r"offsets\.npy: cannot be opened .*; pack the data again"):
        Blobs(tmp_path)
