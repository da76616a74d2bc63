"""Golden vectors: what two implementations must agree on, one JSON file a subject; tests in every language read the same."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any


def load(name: str) -> Any:
    """The vectors in ``<name>.json``. Bytes are hexadecimal text."""
    return json.loads((files(__name__) / f"{name}.json").read_bytes())
