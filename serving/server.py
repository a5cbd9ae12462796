"""The HTTP server and its graceful shutdown."""

from __future__ import annotations

import asyncio
import logging
import signal
from types import FrameType

import uvicorn
from fastapi import FastAPI

from serving.settings import Settings

logger = logging.getLogger("hdnet.serving")

# Beyond the deadline of a request, for sending the answer.
_SPARE_S = 5
# An idle connection stays open longer than balancers keep theirs (60 s) and than any Retry-After: a request sent just
# as it is closed is lost. Uvicorn's own 5 s equal a client's wait after a 503.
_KEEP_ALIVE_S = 75


class Server(uvicorn.Server):
    """Uvicorn that, on SIGTERM, is not ready for a while before it stops listening, so that balancers notice.

    Args:
        app: The service.
        settings: Operator's settings.
    """

    def __init__(self, app: FastAPI, settings: Settings) -> None:
        config = uvicorn.Config(
            app,
            host=settings.host,
            port=settings.port,
            log_config=None,
            access_log=False,  # the service logs each request itself, with its id
            server_header=False,
            forwarded_allow_ips=list(settings.trusted_proxies) or None,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=int(settings.deadline_s) + _SPARE_S,
        )
        super().__init__(config)
        self._app, self._delay_s = app, settings.shutdown_delay_s

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """SIGTERM takes effect after the delay; Ctrl-C, or a second signal, at once."""
        service = self._app.state.service
        if sig != signal.SIGTERM or not self._delay_s or service.leaving.is_set():
            super().handle_exit(sig, frame)
            return
        service.leaving.set()
        logger.info("SIGTERM: not ready from now on, no new connections in %g s", self._delay_s)
        loop = asyncio.get_running_loop()
        # The loop may be idle: only this call wakes it.
        loop.call_soon_threadsafe(loop.call_later, self._delay_s, super().handle_exit, sig, frame)
