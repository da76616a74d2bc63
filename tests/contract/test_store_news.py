"""The store on both databases: that it tells when something was decided."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from simway_flask_app.store.news import News
from simway_flask_app.store.port import StoreUnavailable, UnknownDevice
from simway_flask_app.store.sql import SqlStore
from simway_testing.stores import ON_POSTGRES, T0_US, new_command
from simway_testing.waiting import wait_for
from sqlalchemy import text

WAIT_S = 20.0


@pytest.fixture
def news(store: SqlStore) -> Iterator[News]:
    news = store.news()
    assert news.wait(0.0), "what was before the first look counts as news"
    wait_for(lambda: not news.wait(0.05), WAIT_S, "nothing more is told")
    yield news
    news.close()


def test_a_command_is_news_and_so_is_what_is_asked_of_it(store: SqlStore, news: News, device: str) -> None:
    store.add_device(device, name="", now_us=T0_US)
    assert news.wait(WAIT_S)
    wait_for(lambda: not news.wait(0.05), WAIT_S, "nothing more is told")
    command = store.add_command(new_command(device), now_us=T0_US)
    assert news.wait(WAIT_S)
    wait_for(lambda: not news.wait(0.05), WAIT_S, "nothing more is told")
    store.request_cancel(device, command.command_id, actor="api", now_us=T0_US)
    assert news.wait(WAIT_S)


def test_a_look_is_none_nor_is_what_was_undone(store: SqlStore, news: News, device: str) -> None:
    store.devices()
    with pytest.raises(UnknownDevice):
        store.add_command(new_command(device), now_us=T0_US)
    assert not news.wait(0.2)


@ON_POSTGRES
def test_a_connection_that_was_ended_is_told_and_made_anew(store: SqlStore, news: News, device: str) -> None:
    with store.transaction() as connection:
        ended = connection.execute(
            text("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'")
        ).scalar_one()
    assert ended == 1
    with pytest.raises(StoreUnavailable):
        wait_for(lambda: news.wait(WAIT_S), WAIT_S, "the loss is noticed")
    assert news.wait(0.0)
    store.add_device(device, name="", now_us=T0_US)
    assert news.wait(WAIT_S)
