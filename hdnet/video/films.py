"""Films written frame by frame in pieces, which are joined without being encoded again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from hdnet.files import atomic_write

# Clock of the time stamps, ticks a second.
_CLOCK = 90_000
# The quickest preset with the coding that makes its files smaller by a third, and without mbtree, which with AVX-512
# gives other bytes at every fifth run. Three quarters of the time of "veryfast", files a quarter larger.
_QUALITY = {"crf": "20", "preset": "ultrafast", "x264-params": "cabac=1:8x8dct=1:aq-mode=1:deblock=1,0,0:mbtree=0"}
# Pieces keep time stamps to the tick in this container.
PIECE_SUFFIX = ".nut"


class Film:
    """A film of one piece. Frames have the times that they are given.

    Args:
        container: Open for writing.
        stream: Its video stream.
    """

    def __init__(self, container: Any, stream: Any) -> None:
        self._container, self._stream = container, stream

    @property
    def size(self) -> tuple[int, int]:
        """Height and width, both even."""
        return self._stream.height, self._stream.width

    def add(self, picture: np.ndarray, time_s: float) -> None:
        """Add a frame.

        Args:
            picture: (H, W, 3) uint8 RGB of any size; it is resized to the film's.
            time_s: Seconds from the beginning of the film, later than that of the frame before.
        """
        import av  # optional package

        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
        frame = frame.reformat(self._stream.width, self._stream.height, "yuv420p", interpolation="AREA")
        frame.pts, frame.time_base = round(time_s * _CLOCK), Fraction(1, _CLOCK)
        self._container.mux(self._stream.encode(frame))


def resized(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return a picture (H, W, 3) uint8 RGB at a size (height, width), every pixel counted by its area."""
    import av  # optional package

    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
    small: np.ndarray = frame.to_ndarray(format="rgb24", width=size[1], height=size[0], interpolation="AREA")
    return small


@contextmanager
def film_piece(file: Path, size: tuple[int, int], rate: float) -> Iterator[Film]:
    """Write a piece of a film; it appears when it is complete.

    Args:
        file: With the suffix of pieces.
        size: Height and width; made even.
        rate: Frames a second, about.
    """
    import av  # optional package

    codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
    with atomic_write(file) as temporary, av.open(str(temporary), "w", format="nut") as container:
        stream: Any = container.add_stream(codec, rate=max(1, round(rate)))
        stream.height, stream.width = (max(2, side // 2 * 2) for side in size)
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, _CLOCK)
        # Without frames that refer to later ones every piece ends where the next one begins.
        stream.codec_context.max_b_frames = 0
        stream.codec_context.flags |= av.codec.context.Flags.global_header
        if codec == "libx264":
            stream.options = _QUALITY
        yield Film(container, stream)
        container.mux(stream.encode(None))


def join_pieces(pieces: Sequence[Path], file: Path) -> None:
    """Write the pieces one after the other as one MP4 file; it appears when it is complete."""
    import av  # optional package

    with atomic_write(file) as temporary, av.open(str(temporary), "w", format="mp4") as out:
        target = None
        for piece in pieces:
            with av.open(str(piece)) as source:
                stream = source.streams.video[0]
                if target is None:
                    target = out.add_stream_from_template(stream)
                for packet in source.demux(stream):
                    if packet.dts is None:
                        continue
                    packet.stream = target
                    out.mux(packet)
