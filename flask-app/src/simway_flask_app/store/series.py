"""Series: the integer that stands for one sensor of one device, cached, since every reading asks for it."""

from __future__ import annotations

from collections.abc import Collection

from simway_protocol.limits import SENSOR_MAX_CHARS
from sqlalchemy import Connection, insert, select

from simway_flask_app.store.port import StoreError
from simway_flask_app.store.schema import series

CACHED_MAX = 500_000
_QUERY_MAX = 400


class BadSensor(StoreError):
    """A sensor's name that no database would take (NUL, empty, too long)."""


class Sensors(dict[str, int]):
    """Series by sensor, of one device. A missing one is made when it is asked for: ``BadSensor`` when that cannot be."""

    def __init__(self, cache: SeriesCache, device: str) -> None:
        super().__init__()
        self._cache, self._device = cache, device

    def __missing__(self, sensor: str) -> int:
        series_id = self[sensor] = self._cache.create(self._device, sensor)
        return series_id


class SeriesCache:
    """Sensors by device. Good for one transaction after ``begin``; ``clear`` it when that fails: it may hold undone rows."""

    def __init__(self) -> None:
        self._devices: dict[str, Sensors] = {}
        self._names: dict[int, tuple[str, str]] = {}
        self._connection: Connection | None = None

    def begin(self, connection: Connection, devices: Collection[str]) -> None:
        """Loads the series of those devices that are not cached."""
        self._connection = connection
        if len(self._names) > CACHED_MAX:
            self.clear()
        unknown = [device for device in devices if device not in self._devices]
        for begin in range(0, len(unknown), _QUERY_MAX):
            chosen = unknown[begin : begin + _QUERY_MAX]
            self._devices |= {device: Sensors(self, device) for device in chosen}
            query = select(series.c.device, series.c.sensor, series.c.series_id).where(series.c.device.in_(chosen))
            for device, sensor, series_id in connection.execute(query):
                self._devices[device][sensor] = series_id
                self._names[series_id] = (device, sensor)

    def of(self, device: str) -> Sensors:
        """The sensors of a device that ``begin`` named."""
        return self._devices[device]

    def name(self, series_id: int) -> tuple[str, str]:
        """Device and sensor of a series that was seen since the last ``clear``."""
        return self._names[series_id]

    def create(self, device: str, sensor: str) -> int:
        """Makes a series in the transaction of ``begin``, or finds the one that another writer made meanwhile."""
        if not sensor or len(sensor) > SENSOR_MAX_CHARS or "\x00" in sensor:
            raise BadSensor("a sensor's name is empty, too long or holds NUL")
        assert self._connection is not None
        known = select(series.c.series_id).where(series.c.device == device, series.c.sensor == sensor)
        found = self._connection.execute(known).scalar()
        if found is None:
            made = insert(series).values(device=device, sensor=sensor).returning(series.c.series_id)
            found = self._connection.execute(made).scalar_one()
        self._names[found] = (device, sensor)
        return int(found)

    def clear(self) -> None:
        """Forgets everything."""
        self._devices.clear()
        self._names.clear()
