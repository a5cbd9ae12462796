"""Small videos for tests."""

from fractions import Fraction
from pathlib import Path

import numpy as np


def write_video(
    file: Path,
    frames: list[np.ndarray],
    rate: int = 30,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    times: list[int] | None = None,
    pixel_shape: tuple[int, int] = (1, 1),
) -> Path:
    """A video of (H, W, 3) uint8 frames; ``times`` in units of one frame."""
    import av

    with av.open(str(file), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pixels
        stream.codec_context.sample_aspect_ratio = Fraction(*pixel_shape)
        if codec == "libx264":
            stream.options = {"crf": "10", "preset": "ultrafast"}
        for i, pixels_rgb in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels_rgb), format="rgb24")
            frame.pts, frame.time_base = times[i] if times else i, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file
