"""How a command ends: nothing on success, one clear line and a status other than 0 on failure."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable

from hdnet.errors import HDNetError


def run_command(command: Callable[[], object]) -> None:
    """Calls ``command``; an :class:`HDNetError` becomes "error: ..." and status 1, a requested stop status 130."""
    # force: a library that was imported before may have set up the root already.
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", force=True)
    for name in ("lightning", "lightning.fabric", "alembic", "mlflow"):
        logging.getLogger(name).setLevel(logging.WARNING)
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
