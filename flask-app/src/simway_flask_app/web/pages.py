"""The console page and its assets. They are public: everything they show comes through the API, after signing in.

Nothing is loaded from elsewhere. plotly.js is served from the installed ``plotly`` package under a name that holds its
version, so that browsers keep it; our own files are asked for anew each time and answered 304 when they are the same.
"""

from __future__ import annotations

import gzip
import mimetypes
import re
import zlib
from functools import cache
from importlib import metadata
from importlib.resources import files
from typing import NamedTuple

from flask import Blueprint, Response, request
from werkzeug.exceptions import NotFound

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; font-src 'self'; "
    "manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_FOR_EVER = "public, max-age=31536000, immutable"
_EACH_TIME = "no-cache"
_COMPRESSIBLE = frozenset({"text/html", "text/css", "text/javascript", "image/svg+xml"})


class _Asset(NamedTuple):
    data: bytes
    zipped: bytes | None
    media_type: str
    etag: str


def plotly_name() -> str:
    """The file name under which plotly.js is served."""
    return f"plotly-{metadata.version('plotly')}.min.js"


def make_blueprint() -> Blueprint:
    """The page at ``/`` and everything under ``/assets/``."""
    blueprint = Blueprint("pages", __name__)

    @blueprint.get("/", provide_automatic_options=False)
    def page() -> Response:
        return _send(_own("index.html"), _EACH_TIME)

    @blueprint.get("/assets/<name>", provide_automatic_options=False)
    def asset(name: str) -> Response:
        if name == plotly_name():
            return _send(_plotly(), _FOR_EVER)
        if name == "index.html" or name not in _own_names():
            raise NotFound
        return _send(_own(name), _EACH_TIME)

    @blueprint.get("/favicon.ico", provide_automatic_options=False)
    def favicon() -> Response:
        return _send(_own("icon.svg"), _EACH_TIME)

    return blueprint


def _send(asset: _Asset, caching: str) -> Response:
    zipped = asset.zipped is not None and request.accept_encodings["gzip"] > 0
    response = Response(asset.zipped if zipped else asset.data, mimetype=asset.media_type)
    if zipped:
        response.headers["Content-Encoding"] = "gzip"
    response.headers["Vary"] = "Accept-Encoding"
    response.headers["Cache-Control"] = caching
    response.headers["Content-Security-Policy"] = PAGE_POLICY
    response.set_etag(asset.etag + ("-gz" if zipped else ""))
    made: Response = response.make_conditional(request)  # type: ignore[assignment]
    return made


@cache
def _own_names() -> frozenset[str]:
    return frozenset(item.name for item in files(__package__).joinpath("static").iterdir() if item.is_file())


@cache
def _own(name: str) -> _Asset:
    data = files(__package__).joinpath("static", name).read_bytes()
    if name == "index.html":
        data = data.replace(b"{{ plotly }}", plotly_name().encode()).replace(b"{{ map_style }}", _map_style_id().encode())
    return _asset(name, data)


def _map_style_id() -> str:
    """The id of the style that plotly.js adds for maps unless an element of this id is there; the page's policy forbids it."""
    found = re.search(rb'getElementById\("([0-9a-f]{64})"\)', _plotly().data)
    return found[1].decode() if found else "no-map-style"


@cache
def _plotly() -> _Asset:
    return _asset("plotly.min.js", files("plotly").joinpath("package_data", "plotly.min.js").read_bytes())


def _asset(name: str, data: bytes) -> _Asset:
    media_type = "text/javascript" if name.endswith(".js") else mimetypes.guess_type(name)[0] or "application/octet-stream"
    zipped = gzip.compress(data, 6, mtime=0) if media_type in _COMPRESSIBLE else None
    return _Asset(data, zipped, media_type, f"{zlib.crc32(data):08x}{len(data):x}")
