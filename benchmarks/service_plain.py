"""The plain service, in the most obvious code. `service.py plain` compares with it.

    python benchmarks/service_plain.py models/hdnet.safetensors --port 8001

PyTorch in float32 as the layers come (NCHW, eager), Pillow for pictures, one request at a time. It answers as
`POST /depth` does, with JSON; it checks nothing.
"""

from __future__ import annotations

import argparse
import base64
import io
import threading
from pathlib import Path

import numpy as np
import torch
import uvicorn
from fastapi import FastAPI, UploadFile
from PIL import Image

from hdnet.models import HDNet
from hdnet.models.weights import load_hdnet

SIZE = 256
_MARGIN = 0.1


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="The plain service.")
    parser.add_argument("model", type=Path, help="safetensors file")
    parser.add_argument("--port", type=int, default=8001)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    app = make_app(load_hdnet(arguments.model), arguments.threads)
    uvicorn.run(app, host="127.0.0.1", port=arguments.port, log_level="warning")


def make_app(model: HDNet, threads: int) -> FastAPI:
    """The application."""
    app, turn = FastAPI(), threading.Lock()

    @app.get("/health/ready")
    def ready() -> dict[str, str]:
        return {"status": "ready"}

    @app.post("/depth")
    def depth(image: UploadFile, mask: UploadFile, densepose: UploadFile) -> dict[str, object]:
        torch.set_num_threads(threads)  # counts for the calling thread
        picture = np.asarray(Image.open(image.file).convert("RGB"))
        inside = np.asarray(Image.open(mask.file).convert("L")) > 100
        vui = np.asarray(Image.open(densepose.file).convert("RGB"))
        with turn:
            depth_m, normals = predict(model, picture, inside, vui)
        millimetres = np.where(inside, (1000 * depth_m).round().clip(1, 65535), 0).astype(np.uint16)
        colours = np.stack([(1 - normals[..., 0]) / 2, (1 - normals[..., 1]) / 2, -normals[..., 2]], axis=2)
        colours = np.where(inside[..., None], (255 * colours).round().clip(0, 255), 255).astype(np.uint8)
        values = depth_m[inside]
        return {
            "size": {"width": picture.shape[1], "height": picture.shape[0]},
            "depth": {"min": float(values.min()), "median": float(np.median(values)), "max": float(values.max())},
            "depth_png": base64_png(millimetres),
            "normals_png": base64_png(colours),
        }

    return app


def predict(model: HDNet, picture: np.ndarray, inside: np.ndarray, vui: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Depth (H, W) in metres and normals (H, W, 3) of the person in the mask."""
    rows, columns = np.nonzero(inside.any(axis=1))[0], np.nonzero(inside.any(axis=0))[0]
    side = round((1 + 2 * _MARGIN) * (1 + max(rows[-1] - rows[0], columns[-1] - columns[0])))
    left, top = (columns[0] + columns[-1] + 1 - side) // 2, (rows[0] + rows[-1] + 1 - side) // 2
    box = (int(left), int(top), int(left) + side, int(top) + side)
    on_white = Image.fromarray(255 - np.where(inside[..., None], picture, 255))  # a crop adds zeros outside
    image_hw3 = 255 - np.asarray(on_white.crop(box).resize((SIZE, SIZE), Image.Resampling.BILINEAR))
    vui_hw3 = np.asarray(Image.fromarray(vui).crop(box).resize((SIZE, SIZE), Image.Resampling.NEAREST))
    mask_hw = np.asarray(Image.fromarray(inside).crop(box).resize((SIZE, SIZE), Image.Resampling.NEAREST))
    image_hw3 = np.where(mask_hw[..., None], image_hw3, 255)
    inputs_hw7 = np.concatenate([image_hw3, vui_hw3[..., ::-1], mask_hw[..., None]], axis=2).astype(np.float32)
    with torch.inference_mode():
        outputs_4hw = model(torch.from_numpy(inputs_hw7).permute(2, 0, 1)[None].contiguous())[0].numpy()
    whole = np.zeros((4, *inside.shape), np.float32)
    for channel, output in zip(whole, outputs_4hw, strict=True):
        large = Image.fromarray(output).resize((side, side), Image.Resampling.BILINEAR)
        canvas = Image.new("F", inside.shape[::-1])
        canvas.paste(large, box[:2])
        channel[...] = np.asarray(canvas)
    normals = whole[1:].transpose(1, 2, 0)
    return whole[0], normals / np.linalg.norm(normals, axis=2, keepdims=True).clip(1e-9)


def base64_png(pixels: np.ndarray) -> str:
    """A picture as Pillow writes it."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


if __name__ == "__main__":
    main()
