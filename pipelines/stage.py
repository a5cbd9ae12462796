"""How every stage starts and ends."""

from __future__ import annotations

from collections.abc import Callable

from hdnet.errors import run_command
from hdnet.params import Params, load_params
from hdnet.workspace import Workspace


def run(main: Callable[[Workspace, Params], object]) -> None:
    """Runs a stage in the working directory; an error that is the user's to fix becomes one line and status 1."""
    run_command(lambda: main(Workspace(), load_params()))
