"""Errors that a user is meant to read, and how a command ends with one.

Each carries one line: what was found, what was expected, what to do. The command line prints that line and
exits with status 1, a DVC stage does the same, the service turns it into problem+json.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence


class HDNetError(Exception):
    """Base of every error that is a user's or an operator's to fix; its text is one complete line."""


class DataError(HDNetError):
    """A data file or folder breaks a convention. The text names the file."""


class ParamsError(HDNetError):
    """params.yaml (or a flag) holds an unknown key or a value out of range."""


class ModelError(HDNetError):
    """A checkpoint or registered model is missing, damaged, or of the wrong kind."""


class NotRegisteredError(ModelError):
    """The registry has no such model, and nothing tells that another registry had it."""


class InputError(HDNetError):
    """A picture, mask, DensePose map or camera given for inference cannot be used.

    Attributes:
        code: Stable name of the fault for programs, one of :mod:`hdnet.pictures.faults` or ``unusable_input``.
        parts: The inputs at fault: ``image``, ``mask``, ``densepose``, or names of camera values.
    """

    def __init__(self, text: str, code: str = "unusable_input", parts: Sequence[str] = ()) -> None:
        super().__init__(text)
        self.code, self.parts = code, tuple(parts)


class TrackingError(HDNetError):
    """The experiment tracker refuses or cannot be reached."""


class TrainingError(HDNetError):
    """Training cannot start or go on."""


class PromotionError(HDNetError):
    """A registered version does not become the champion, or there is none to decide about."""


class TuningError(HDNetError):
    """A study, its storage or a worker cannot go on, or a study was asked to be another one."""


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, or the name of its type if it has none."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def log_to_stderr(prefix: str = "") -> None:
    """Log to standard error, with ``prefix`` before every line; of libraries that tell every step, warnings only."""
    # force: a library that was imported before may have set up the root already.
    logging.basicConfig(level=logging.INFO, format=f"{prefix}%(levelname)s %(message)s", force=True)
    for name in ("lightning_fabric", "alembic", "mlflow"):
        logging.getLogger(name).setLevel(logging.WARNING)


def run_command(command: Callable[[], object]) -> None:
    """Calls ``command``; an :class:`HDNetError` becomes "error: ..." and status 1, a requested stop status 130."""
    log_to_stderr()
    try:
        command()
    except HDNetError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt as stop:
        sys.stderr.write(f"{stop}\n" if str(stop) else "interrupted\n")
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(1)
    except OSError as error:  # a file or disk that no room has words for
        sys.exit(f"error: {error}")
