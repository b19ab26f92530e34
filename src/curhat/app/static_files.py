"""Serves the files of the web clients that `npm run build` wrote.

The framework gets only the requests for paths outside the web clients.

Guarantees:
    A request can read only files of the build. The server looks up the request's path in a dictionary, and never opens
    a file by this path.
    If a client has no file for a path, and the path has no file extension, the answer is the client's index.html. The
    script of index.html then shows the right screen.
    If a file has a hash in its name, a browser keeps the file permanently. For a file without a hash in its name, the
    browser asks again each time, and gets 304 if the file has not changed. A browser that accepts Brotli or gzip gets
    the compressed file from the build.
    Each page has a content security policy. The policy allows only scripts of the page's own origin, and only
    connections to the clients' origins.
How it works:
    The constructor reads the whole build, which has a few hundred KB. If there is no build, a request for a client
    gets 503 and a sentence that says what to do.
"""

import hashlib
import mimetypes
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

import structlog

from curhat.kit.asgi import SECURITY_HEADERS, Application, Receive, Scope, Send

log = structlog.get_logger(__name__)

Header = tuple[bytes, bytes]

CLIENTS: Final = ("app", "mitra", "control-center")
HOME: Final = "/app/"
PAGE: Final = "index.html"

# The encodings that the build can contain, as (file suffix, content encoding). The preferred encoding is first.
_ENCODINGS: Final = ((".br", "br"), (".gz", "gzip"), ("", None))
# The build names its files name-hash.js, in assets/ (web/build/config.ts).
_HASHED: Final = re.compile(r"assets/.+-[A-Za-z0-9_-]{7}\.\w+$")
_TYPES: Final = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".webmanifest": "application/manifest+json",
    ".svg": "image/svg+xml",
}
_FOR_EVER: Final = b"public, max-age=31536000, immutable"
_ASK_EACH_TIME: Final = b"no-cache"

_NOT_BUILT: Final = (
    b"The web clients are not built. Run make up, which builds them and starts the server; "
    b"or make web, and start the server again.\n"
)
# Features that no page is allowed to use, even if foreign code runs in the page.
_PERMISSIONS: Final = b"camera=(), geolocation=(), microphone=(), payment=(), usb=()"


class Representation(NamedTuple):
    """One file in one encoding, ready to send."""

    body: bytes
    etag: bytes
    encoding: str | None
    headers: tuple[Header, ...]


class StaticFiles:
    """An ASGI application that serves the web clients, and passes every other request to `application`."""

    def __init__(
        self, application: Application, folder: Path, origins: Mapping[str, tuple[str, ...]]
    ) -> None:
        """Read the files of `folder`. `origins` is a map from each client's folder to the client's origins."""
        self._application = application
        self._files = _read_build(folder, origins)
        if not self._files:
            log.warning("static_files.not_built", folder=str(folder), remedy="make web")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        path: str = scope["path"]
        if path == "/":
            await _redirect(send, HOME)
            return
        client, slash, name = path[1:].partition("/")
        if client not in CLIENTS:
            await self._application(scope, receive, send)
        elif scope["method"] not in ("GET", "HEAD"):
            await _say(send, 405, b"This path has GET and HEAD.\n", (b"allow", b"GET, HEAD"))
        elif not slash:
            await _redirect(send, f"/{client}/")
        else:
            await self._serve(scope, send, client, name)

    async def _serve(self, scope: Scope, send: Send, client: str, name: str) -> None:
        found = self._files.get((client, name or PAGE))
        if found is None and "." not in name.rpartition("/")[2]:
            found = self._files.get((client, PAGE))
        if found is None:
            if (client, PAGE) in self._files:
                await _say(send, 404, b"There is no such file.\n")
            else:
                await _say(send, 503, _NOT_BUILT)
            return
        given = dict(scope["headers"])
        chosen = _choose(found, given.get(b"accept-encoding", b"").decode("latin-1"))
        if _matches(given.get(b"if-none-match", b""), chosen.etag):
            await _answer(send, 304, (*chosen.headers, (b"etag", chosen.etag)))
            return
        length = (b"content-length", str(len(chosen.body)).encode())
        body = b"" if scope["method"] == "HEAD" else chosen.body
        await _answer(send, 200, (*chosen.headers, (b"etag", chosen.etag), length), body)


def web_folder() -> Path:
    """Return the folder of the build: `web/dist/` of the checkout, or `curhat/_web` of an installed wheel."""
    package = Path(__file__).parents[1]
    installed = package / "_web"
    return installed if installed.is_dir() else package.parents[1] / "web" / "dist"


def content_security_policy(origins: tuple[str, ...]) -> str:
    """Return the content security policy of a page. `origins` are the origins of its client."""
    # In some browsers 'self' does not include WebSockets.
    sockets = [f"ws{origin.removeprefix('http')}" for origin in origins]
    return "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self'",
            "font-src 'self'",
            "manifest-src 'self'",
            "worker-src 'self'",
            " ".join(("connect-src 'self'", *sockets)),
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            # Only these two Trusted Types policies are allowed to turn text into markup or script. Svelte uses the
            # first policy for its templates. The module web/shared/start.ts uses the second policy for the URL of the
            # service worker.
            "require-trusted-types-for 'script'",
            "trusted-types svelte-trusted-html curhat-worker",
        )
    )


def _read_build(
    folder: Path, origins: Mapping[str, tuple[str, ...]]
) -> dict[tuple[str, str], list[Representation]]:
    """Return every file of every client in its encodings: the preferred encoding first, the plain file last."""
    files = {}
    for client in CLIENTS:
        policy = content_security_policy(origins[client]).encode()
        for path in sorted((folder / client).rglob("*")):
            if path.is_file() and path.suffix not in (".br", ".gz"):
                name = path.relative_to(folder / client).as_posix()
                files[client, name] = _representations(path, name, policy)
    return files


def _representations(path: Path, name: str, policy: bytes) -> list[Representation]:
    content_type = _TYPES.get(path.suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"
    headers: tuple[Header, ...] = (
        (b"content-type", content_type.encode()),
        (b"cache-control", _FOR_EVER if _HASHED.fullmatch(name) else _ASK_EACH_TIME),
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"no-referrer"),
        (b"cross-origin-resource-policy", b"same-origin"),
        (b"vary", b"accept-encoding"),
    )
    if path.suffix in (".html", ".js", ".svg"):
        # A service worker gets its policy from the headers of its script. A browser can open an SVG as a document.
        headers += ((b"content-security-policy", policy),)
    if path.suffix == ".html":
        headers += ((b"cross-origin-opener-policy", b"same-origin"), (b"permissions-policy", _PERMISSIONS))
    representations = []
    for suffix, encoding in _ENCODINGS:
        encoded = path.with_name(path.name + suffix)
        if encoded.is_file():
            body = encoded.read_bytes()
            etag = f'"{hashlib.sha256(body).hexdigest()[:24]}"'.encode()
            own = headers if encoding is None else (*headers, (b"content-encoding", encoding.encode()))
            representations.append(Representation(body, etag, encoding, own))
    return representations


def _choose(found: list[Representation], accept_encoding: str) -> Representation:
    accepted: set[str | None] = {None}
    for part in accept_encoding.lower().split(","):
        encoding, _, weight = part.partition(";")
        if weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000"):
            accepted.add(encoding.strip())
    return next(representation for representation in found if representation.encoding in accepted)


def _matches(given: bytes, etag: bytes) -> bool:
    return given.strip() == b"*" or etag in (tag.strip().removeprefix(b"W/") for tag in given.split(b","))


async def _redirect(send: Send, to: str) -> None:
    await _answer(send, 307, ((b"location", to.encode()), (b"content-length", b"0"), *SECURITY_HEADERS))


async def _say(send: Send, status: int, sentence: bytes, *headers: Header) -> None:
    own = ((b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(sentence)).encode()))
    await _answer(send, status, (*own, *headers, *SECURITY_HEADERS), sentence)


async def _answer(send: Send, status: int, headers: tuple[Header, ...], body: bytes = b"") -> None:
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})
    await send({"type": "http.response.body", "body": body})
