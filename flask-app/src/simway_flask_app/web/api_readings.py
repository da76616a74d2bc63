"""The endpoints of ``/api/v1`` that answer about readings."""

from __future__ import annotations

from simway_flask_app.web import present, schemas_readings, times
from simway_flask_app.web.context import services
from simway_flask_app.web.routes import device_id, operations


@operations.add(
    "GET",
    "/devices/<device>/readings",
    tag="readings",
    summary="Readings of a device",
    replies={200: schemas_readings.ReadingsPage},
    problems=(404, 422),
    query=schemas_readings.ReadingsQuery,
)
def list_readings(device: str, query: schemas_readings.ReadingsQuery) -> schemas_readings.ReadingsPage:
    """Readings in order of their own time, by sensor and time range, a page at a time."""
    from_us, to_us = times.parse_parameter("from", query.from_), times.parse_parameter("to", query.to)
    times.check_range(from_us, to_us)
    store = services().store
    store.device(device_id(device))
    page = store.readings(
        device, sensors=query.sensor, from_us=from_us, to_us=to_us, limit=query.limit, cursor=query.cursor, order=query.order
    )
    return schemas_readings.ReadingsPage(device, [present.reading(row) for row in page.readings], page.next_cursor)


@operations.add(
    "GET",
    "/devices/<device>/readings/latest",
    tag="readings",
    summary="The newest reading of each sensor",
    replies={200: schemas_readings.LatestReadings},
    problems=(404,),
)
def list_latest(device: str) -> schemas_readings.LatestReadings:
    """Newest means the newest timestamp, not what was received last."""
    store = services().store
    store.device(device_id(device))
    return schemas_readings.LatestReadings(device, [present.reading(row) for row in store.latest(device)])
