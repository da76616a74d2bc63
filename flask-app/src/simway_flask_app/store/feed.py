"""Following what changed in ``latest``: each change once, however often and by whom it is looked for."""

from __future__ import annotations

from simway_flask_app.store.port import LatestChange, WebStore

_OVERLAP_US = 5_000_000
"""Changes are looked for again this far back: a transaction may become visible later than one that began after it."""
_PAGE = 5_000


class LatestFeed:
    """One follower. Not thread-safe; ``poll`` blocks on the database. The first poll gives what is newest now."""

    def __init__(self, store: WebStore, *, device: str | None = None, since_us: int = 0) -> None:
        self._store, self._device = store, device
        self._since_us = since_us
        self._seen: dict[tuple[str, str], int] = {}

    def poll(self) -> list[LatestChange]:
        """The changes since the last poll, oldest first. Raises ``StoreError``, and then has missed nothing."""
        changes: list[LatestChange] = []
        since_us, more = self._since_us, True
        while more:
            page = self._store.latest_changes(since_us, device=self._device, limit=_PAGE)
            changes += page
            more = len(page) >= _PAGE
            since_us = page[-1].stored_us if page else since_us
        if changes:
            self._since_us = max(self._since_us, changes[-1].stored_us - _OVERLAP_US)
        return [change for change in changes if self._is_new(change)]

    def _is_new(self, change: LatestChange) -> bool:
        key = (change.reading.device, change.reading.sensor)
        if self._seen.get(key) == change.reading.t_us:
            return False
        self._seen[key] = change.reading.t_us
        return True
