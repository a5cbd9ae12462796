"""Addresses of the service: below a path prefix, with a trailing slash, and asked with HEAD."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Proxies close these by their exact address: no other may lead there.
_EXACT = ("/metrics", "/admin")


def own_path(scope: Scope) -> str:
    """The path of a request within the service, without the prefix under which a proxy publishes it."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))


class AddressMiddleware:
    """The outermost layer: brings every path into one form, the prefix followed by an address without trailing slash.

    Proxies either keep the prefix or cut it off; both work. A path that ends in a slash means the same address:
    nothing is redirected, since a redirect behind TLS would make the caller send pictures and keys again in clear.

    Args:
        app: The layers below.
        root_path: The prefix; the server's own if empty.
    """

    def __init__(self, app: ASGIApp, root_path: str) -> None:
        self.app, self._root_path = app, root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "http":
            prefix: str = self._root_path or scope.get("root_path", "")
            path: str = scope["path"]
            scope["root_path"] = prefix
            own = path[len(prefix) :] if f"{path}/".startswith(f"{prefix}/") else path
            if not own.startswith(_EXACT):
                own = own.rstrip("/") or "/"
            scope["path"] = prefix + own
        await self.app(scope, receive, send)


class HeadMiddleware:
    """Answers HEAD as GET without the body.

    Args:
        app: The layers below.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self.app(scope, receive, send)
            return

        async def send_without_body(message: Message) -> None:
            await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

        # A copy: the server and the log still have to know that it was HEAD.
        asked = {**scope, "method": "GET"}
        try:
            await self.app(asked, receive, send_without_body)
        finally:
            scope["route"] = asked.get("route")
