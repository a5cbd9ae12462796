"""``hdnet serve`` and ``hdnet export``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hdnet.cli.commands import Arguments, add_verb, say


def add_serving_verbs(verbs: Any) -> None:
    """Declares them among the subparsers ``verbs``."""
    verb = add_verb(verbs, "serve", "POST /depth over HTTP", _serve)
    verb.add_argument("--host")
    verb.add_argument("--port", type=int)
    verb.add_argument("--model", help="registry URI, folder or safetensors file")

    verb = add_verb(verbs, "export", "a model for other programs, compared with ours before it is kept", _export)
    verb.add_argument("--format", choices=("onnx", "openvino"), default="onnx", help="default: onnx")
    verb.add_argument("--model", default="models:/hdnet@champion", help="registry URI, folder or safetensors file")
    verb.add_argument("--out", type=Path, required=True, help="file to write: .onnx, or .xml for openvino")


def _serve(arguments: Arguments) -> None:
    from serving.app import run
    from serving.settings import read_settings

    given = {"host": arguments.host, "port": arguments.port, "model_uri": arguments.model}
    run(read_settings(**{key: value for key, value in given.items() if value is not None}))


def _export(arguments: Arguments) -> None:
    from hdnet.predict.export import export_model
    from hdnet.predict.inference import load_source

    files, worst = export_model(*load_source(arguments.model), arguments.format, arguments.out)
    for path in files:
        say(str(path))
    say(f"differs from PyTorch by {worst.depth_mm:.2g} mm and {worst.normal_deg:.2g} deg at most")
