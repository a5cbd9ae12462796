"""``hdnet serve``."""

from __future__ import annotations

from typing import Any

from hdnet.commands import Arguments, add_verb


def add_serving_verbs(verbs: Any) -> None:
    """Declares them among the subparsers ``verbs``."""
    verb = add_verb(verbs, "serve", "POST /depth over HTTP", _serve)
    verb.add_argument("--host")
    verb.add_argument("--port", type=int)
    verb.add_argument("--model", help="registry URI, folder or safetensors file")


def _serve(arguments: Arguments) -> None:
    from serving.app import run
    from serving.settings import Settings

    given = {"host": arguments.host, "port": arguments.port, "model_uri": arguments.model}
    run(Settings(**{key: value for key, value in given.items() if value is not None}))
