"""Log lines as text or as one JSON object a line, each with its request."""

from __future__ import annotations

import json
import logging
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Literal

# The request of the running task; the threads of admission control do not see it.
current_request: ContextVar[str] = ContextVar("hdnet_request", default="")

_TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class JsonFormatter(logging.Formatter):
    """One object a line: time (UTC), level, logger, message, request_id, exception, and the record's ``fields``."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without a line feed in it."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if request_id := current_request.get():
            line["request_id"] = request_id
        line.update(getattr(record, "fields", {}))
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def configure(log_format: Literal["text", "json"]) -> None:
    """Send all logs of the process, uvicorn's and MLflow's included, to standard error in one form."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if log_format == "json" else logging.Formatter(_TEXT))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    # The model store logs once that the registry is unreachable; the HTTP client would log every attempt.
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
