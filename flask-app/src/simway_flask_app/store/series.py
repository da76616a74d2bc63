"""Series: the integer that stands for one sensor of one device, cached, since every reading asks for it."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from simway_protocol.limits import SENSOR_MAX_CHARS
from simway_protocol.messages import Uplink
from sqlalchemy import Connection, select

from simway_flask_app.store.bulk import Bulk
from simway_flask_app.store.port import StoreError
from simway_flask_app.store.schema import series

_QUERY_MAX = 400


class BadSensor(StoreError):
    """A sensor's name that no database would take (NUL, empty, too long)."""


class Sensors(dict[str, int]):
    """Series by sensor, of one device; only names that the database took. Any other name: ``BadSensor``."""

    def __missing__(self, sensor: str) -> int:
        raise BadSensor("a sensor's name is empty, too long or holds NUL")


class SeriesCache:
    """Sensors by device. Good for one transaction after ``begin``; ``clear`` it when that fails: it may hold undone rows."""

    def __init__(self, bulk: Bulk) -> None:
        self._bulk = bulk
        self.devices: dict[str, Sensors] = {}
        """The sensors of each device that was seen since the last ``clear``."""
        self.names: dict[int, tuple[str, str]] = {}
        """Device and sensor of each series that was seen since the last ``clear``, which leaves this one to whoever holds it."""

    def begin(self, connection: Connection, uplinks: Sequence[Uplink]) -> None:
        """Knows the series of all readings of ``uplinks`` afterwards: loads them, or makes them."""
        devices = self.devices
        self._load(connection, [device for device in {uplink.device for uplink in uplinks} if device not in devices])
        wanted: set[tuple[str, str]] = set()
        for uplink in uplinks:
            known = devices[uplink.device]
            for sensor, _, _, _ in uplink.readings:
                if sensor not in known:
                    wanted.add((uplink.device, sensor))
        if wanted:
            self._make(connection, sorted(pair for pair in wanted if _is_name(pair[1])))

    @staticmethod
    def known(connection: Connection, device: str, sensors: Collection[str]) -> dict[str, int]:
        """The series that exist of some sensors of a device, by sensor; none is made."""
        query = select(series.c.sensor, series.c.series_id).where(series.c.device == device)
        return {row.sensor: row.series_id for row in connection.execute(query) if row.sensor in sensors}

    def clear(self) -> None:
        """Forgets everything."""
        self.devices, self.names = {}, {}

    def _load(self, connection: Connection, devices: Sequence[str]) -> None:
        for begin in range(0, len(devices), _QUERY_MAX):
            chosen = devices[begin : begin + _QUERY_MAX]
            self.devices |= {device: Sensors() for device in chosen}
            query = select(series.c.series_id, series.c.device, series.c.sensor).where(series.c.device.in_(chosen))
            for series_id, device, sensor in connection.execute(query):
                self._note(series_id, device, sensor)

    def _make(self, connection: Connection, pairs: Sequence[tuple[str, str]]) -> None:
        """Those that another writer makes just now come by a second look."""
        if not pairs:
            return
        for series_id, device, sensor in self._bulk.create_series(connection, pairs):
            self._note(series_id, device, sensor)
        self._load(connection, sorted({device for device, sensor in pairs if sensor not in self.devices[device]}))

    def _note(self, series_id: int, device: str, sensor: str) -> None:
        self.devices[device][sensor] = series_id
        self.names[series_id] = (device, sensor)


def _is_name(sensor: str) -> bool:
    return 0 < len(sensor) <= SENSOR_MAX_CHARS and "\x00" not in sensor
