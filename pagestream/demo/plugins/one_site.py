"""A plugin of Datasette: asked under another site's name, it sends home, as civic.band does.

Datasette serves the same rows under every name. So another city, walked from here, would get this
one's pages. The one name that is served is `site` in the metadata of the plugin `one-site`. Below
localhost every name is a site's; the machine's own names and addresses are for people.
"""  # noqa: INP001 - Datasette loads it by its file, in an environment of its own

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from datasette import hookimpl  # type: ignore[import-not-found]  # that environment has it

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
Receive = Callable[[], Awaitable[Message]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]

_BASE: Final = ".localhost"


@hookimpl  # type: ignore[untyped-decorator]  # likewise
def asgi_wrapper(datasette: Any) -> Callable[[Application], Application]:
    """Return what Datasette is to put around itself."""
    own = datasette.plugin_config("one-site")["site"]

    def wrap(application: Application) -> Application:
        async def serve(scope: Message, receive: Receive, send: Send) -> None:
            if scope["type"] == "http" and _site(scope) not in (None, own):
                await _send_home(scope, send)
            else:
                await application(scope, receive, send)

        return serve

    return wrap


def _site(scope: Message) -> str | None:
    """Return the site that a request names by its host; None where it names none."""
    host = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
    name = host.partition(":")[0].lower()
    return name.removesuffix(_BASE) if name.endswith(_BASE) else None


async def _send_home(scope: Message, send: Send) -> None:
    address, port = scope["server"]
    home = f"http://{address}:{port}/".encode()
    await send({"type": "http.response.start", "status": 302, "headers": [(b"location", home)]})
    await send({"type": "http.response.body", "body": b"no such site here"})
