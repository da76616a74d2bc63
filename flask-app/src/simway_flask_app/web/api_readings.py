"""The endpoints of ``/api/v1`` that answer about readings: pages, windows, charts, the newest."""

from __future__ import annotations

from flask import request

from simway_flask_app import aggregates, downsampling
from simway_flask_app.store.questions import Answer, Question
from simway_flask_app.web import present, schemas_readings, times
from simway_flask_app.web.context import services
from simway_flask_app.web.operations import Reply
from simway_flask_app.web.problems import FieldError, Problem
from simway_flask_app.web.routes import device_id, operations

_OF_PAGES = ("limit", "order", "cursor")


@operations.add(
    "GET",
    "/devices/<device>/readings",
    tag="readings",
    summary="Readings of a device, in windows, or as a chart",
    replies={200: (schemas_readings.ReadingsPage, schemas_readings.SeriesAnswer)},
    problems=(404, 422),
    query=schemas_readings.ReadingsQuery,
)
def list_readings(device: str, query: schemas_readings.ReadingsQuery) -> Reply:
    """Readings in order of their own time, by sensor and time range, a page at a time. With ``window``: aggregates of each window
    of time; with ``points``: as many points as a chart is wide; with both, so many windows at most. Windows come from rollups
    where those are exact, else from raw readings; 422 where an answer would be too long says what would fit."""
    from_us, to_us = times.parse_parameter("from", query.from_), times.parse_parameter("to", query.to)
    times.check_range(from_us, to_us)
    _check_together(query)
    services().store.require_device(device_id(device))
    question = Question(device, query.sensor, from_us, to_us)
    if query.window is not None:
        return Reply(_windows(question, query, query.window))
    if query.points is not None:
        return Reply(present.series_answer(device, services().store.chart(question, query.points, query.reduce)))
    page = services().store.readings(
        device, sensors=query.sensor, from_us=from_us, to_us=to_us, limit=query.limit, cursor=query.cursor, order=query.order
    )
    return Reply(schemas_readings.ReadingsPage(device, [present.reading(row) for row in page.readings], page.next_cursor))


def _check_together(query: schemas_readings.ReadingsQuery) -> None:
    """A parameter that would mean nothing beside the others is an error, not silence."""
    if query.window is not None or query.points is not None:
        odd = [(name, "is of pages: not with window or points") for name in _OF_PAGES if name in request.args]
    else:
        odd = []
    if query.window is None:
        odd += [(name, "goes with window") for name in ("agg", "fill") if name in request.args]
    if query.points is None and "reduce" in request.args:
        odd.append(("reduce", "goes with points"))
    if odd:
        errors = [FieldError(f"query.{name}", why) for name, why in odd]
        raise Problem(422, "bad_request", "Parameters do not go together; see errors.", errors=errors)


def _windows(question: Question, query: schemas_readings.ReadingsQuery, window: str) -> schemas_readings.SeriesAnswer:
    try:
        window_us = aggregates.parse_window(window)
        asked = aggregates.parse_aggregates(query.agg)
    except aggregates.BadWindow as error:
        detail = "The window or what is asked of it does not fit."
        raise Problem(422, "bad_window", detail, errors=[FieldError("query", str(error))]) from error
    ports = services()
    answer: Answer = ports.store.windows(question, window_us, asked, fill=query.fill, now_us=ports.now_us())
    if query.points is not None:
        for one in answer.series:
            one.points[:] = downsampling.thinned(one.points, asked.names[0], query.points, query.reduce)
    return present.series_answer(question.device, answer)


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
    store.require_device(device_id(device))
    return schemas_readings.LatestReadings(device, [present.reading(row) for row in store.latest(device)])
