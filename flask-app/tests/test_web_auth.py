"""Who gets in: the bearer token, the session cookie, and nobody else."""

from __future__ import annotations

from typing import Any

import pytest
from simway_flask_app.web.api import operations
from simway_flask_app.web.app import WebConfig, create_app
from simway_flask_app.web.auth import SESSION_COOKIE
from simway_testing.web_site import API, TOKEN, Site

SAME_ORIGIN = {"Origin": "http://localhost"}


def sign_in(client: Any) -> Any:
    response = client.post(f"{API}/session", json={"token": TOKEN}, headers=SAME_ORIGIN)
    assert response.status_code == 204
    return response


def test_only_health_and_signing_in_and_out_are_public() -> None:
    assert {operation.name for operation in operations if operation.public} == {
        "get_health",
        "get_session",
        "sign_in",
        "sign_out",
    }


@pytest.mark.parametrize("operation", [operation for operation in operations if not operation.public], ids=lambda o: o.name)
def test_every_other_operation_asks_for_the_token(site: Site, operation: Any) -> None:
    path = API + operation.path.replace("<device>", "demo").replace("<command>", "0" * 32)
    response = site.stranger.open(path, method=operation.method)
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="simway"'
    assert response.get_json()["reason"] == "unauthorized"


@pytest.mark.parametrize(
    "header",
    [
        "Bearer",
        "Bearer ",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        f"Basic {TOKEN}",
        TOKEN,
        "Bearer \u00e9",
        f"Bearer {TOKEN} {TOKEN}",
    ],
)
def test_a_wrong_token_is_refused(site: Site, header: str) -> None:
    response = site.stranger.get(f"{API}/devices", headers={"Authorization": header})
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"].endswith('error="invalid_token"')


def test_the_token_is_exchanged_for_a_cookie_that_scripts_cannot_read(site: Site) -> None:
    client = site.stranger
    assert client.get(f"{API}/session").get_json() == {"signed_in": False}
    cookie = sign_in(client).headers["Set-Cookie"]
    for attribute in ("HttpOnly", "SameSite=Strict", "Path=/", "Max-Age="):
        assert attribute in cookie
    assert TOKEN not in cookie
    assert client.get(f"{API}/session").get_json() == {"signed_in": True}
    assert client.get(f"{API}/devices").status_code == 200
    assert client.delete(f"{API}/session", headers=SAME_ORIGIN).status_code == 204
    assert client.get(f"{API}/devices").status_code == 401


def test_behind_tls_the_cookie_is_secure(site: Site) -> None:
    response = site.stranger.post(f"{API}/session", json={"token": TOKEN}, base_url="https://localhost")
    assert "Secure" in response.headers["Set-Cookie"]


def test_signing_in_with_a_wrong_token_fails(site: Site) -> None:
    response = site.stranger.post(f"{API}/session", json={"token": "guess"})
    assert (response.status_code, response.get_json()["reason"]) == (401, "invalid_token")
    assert "Set-Cookie" not in response.headers


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "http://localhost:3000"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_a_cookie_changes_nothing_from_another_page(site: Site, headers: dict[str, str]) -> None:
    client = site.stranger
    sign_in(client)
    for method, path in (
        ("POST", "/devices"),
        ("PATCH", "/devices/demo"),
        ("POST", "/devices/demo/commands"),
        ("DELETE", "/session"),
    ):
        response = client.open(f"{API}{path}", method=method, json={}, headers=headers)
        assert (response.status_code, response.get_json()["reason"]) == (403, "cross_origin")


@pytest.mark.parametrize("headers", [SAME_ORIGIN, {"Sec-Fetch-Site": "same-origin"}])
def test_the_console_itself_may(site: Site, headers: dict[str, str]) -> None:
    client = site.stranger
    sign_in(client)
    assert client.post(f"{API}/devices/demo/commands", json={"kind": "ping"}, headers=headers).status_code == 202


def test_nobody_is_signed_in_from_another_page(site: Site) -> None:
    response = site.stranger.post(f"{API}/session", json={"token": TOKEN}, headers={"Origin": "http://evil.example"})
    assert response.status_code == 403


@pytest.mark.parametrize("change", ["token", "secret"])
def test_another_token_or_secret_ends_every_session(site: Site, change: str) -> None:
    client = site.stranger
    sign_in(client)
    cookie = client.get_cookie(SESSION_COOKIE)
    assert cookie is not None
    other = WebConfig(
        "another token" if change == "token" else TOKEN,
        b"another secret" if change == "secret" else site.config.session_secret,
        site.config.master_secret,
    )
    elsewhere = create_app(other, site.store).test_client()
    elsewhere.set_cookie(SESSION_COOKIE, cookie.value)
    response = elsewhere.get(f"{API}/devices")
    assert (response.status_code, response.get_json()["reason"]) == (401, "session_over")


@pytest.mark.parametrize("value", ["", "x", "a.b.c", "é"])
def test_a_made_up_cookie_is_refused(site: Site, value: str) -> None:
    client = site.stranger
    client.set_cookie(SESSION_COOKIE, value)
    assert client.get(f"{API}/devices").status_code == 401


def test_secrets_are_not_in_what_is_printed(site: Site) -> None:
    assert TOKEN not in repr(site.config)
    assert site.config.master_secret.hex() not in repr(site.config)
