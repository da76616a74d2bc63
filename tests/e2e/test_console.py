"""The page at ``/`` as a person uses it, in Chromium: sign in, watch the readings live, switch the carrier, on any width."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect, sync_playwright
from simway_testing import unavailable
from simway_testing.platform import DEMO_DEVICE, Front
from simway_testing.waiting import wait_for

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
SHOWN_WITHIN_MS = 60_000
"""A loaded machine takes long to start a browser and to read the four megabytes of plotly.js."""
expect.set_options(timeout=SHOWN_WITHIN_MS)
PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        unavailable("Chromium is not installed; on Debian: apt-get install chromium")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS, timeout=SHOWN_WITHIN_MS)
        yield started
        started.close()


@contextmanager
def new_context(browser: Browser) -> Iterator[BrowserContext]:
    made = browser.new_context(viewport={"width": 1360, "height": 1000})
    made.set_default_timeout(SHOWN_WITHIN_MS)
    yield made
    made.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    with new_context(browser) as made:
        yield made


class Console:
    """The page, and everything that it complained of."""

    def __init__(self, context: BrowserContext, front: Front) -> None:
        self.page: Page = context.new_page()
        self.front = front
        self.complaints: list[str] = []
        self.foreign: list[str] = []
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", self._note)
        self.page.on("request", self._check_origin)

    def _note(self, message: Any) -> None:
        if message.type in {"error", "warning"} and "status of 401" not in message.text:
            self.complaints.append(f"{message.text} {message.location.get('url', '')}")

    def _check_origin(self, request: Any) -> None:
        if not request.url.startswith((self.front.api.base_url, "data:", "blob:")):
            self.foreign.append(request.url)

    def open(self) -> None:
        self.page.goto(self.front.api.base_url)

    def sign_in(self) -> None:
        self.open()
        self.page.get_by_label("API token").fill(self.front.api.token or "")
        self.page.get_by_role("button", name="Sign in").click()
        expect(self.page.locator("#connection")).to_have_text("Live")

    def choose(self, device: str) -> None:
        self.page.get_by_role("combobox", name="Device").select_option(device)
        expect(self.page.locator("#connection")).to_have_text("Live")

    def text(self, selector: str) -> str:
        return self.page.locator(selector).first.inner_text()

    def check_that_nothing_is_wrong(self) -> None:
        assert self.complaints == []
        assert self.foreign == []


@pytest.fixture
def console(context: BrowserContext, front: Front) -> Iterator[Console]:
    """A browser that was never here."""
    made = Console(context, front)
    yield made
    made.check_that_nothing_is_wrong()


@pytest.fixture(scope="module")
def open_page(browser: Browser, front: Front) -> Iterator[Console]:
    with new_context(browser) as context:
        made = Console(context, front)
        made.sign_in()
        yield made


@pytest.fixture
def signed_in(open_page: Console) -> Iterator[Console]:
    """A page that stays open, as people leave it open: signed in, at whatever device was looked at last."""
    yield open_page
    open_page.check_that_nothing_is_wrong()


def test_nobody_sees_anything_without_the_token(console: Console) -> None:
    console.open()
    console.page.get_by_label("API token").fill("a guess")
    console.page.get_by_role("button", name="Sign in").click()
    expect(console.page.get_by_role("alert").filter(has_text="not the API token")).to_be_visible()
    expect(console.page.locator("#console")).to_be_hidden()


def test_readings_are_there_with_a_line_and_move_by_themselves(signed_in: Console) -> None:
    signed_in.choose(DEMO_DEVICE)
    cards = signed_in.page.locator(".sensor")
    expect(cards.first).to_be_visible(timeout=SHOWN_WITHIN_MS)
    expect(signed_in.page.locator(".chart .main-svg .scatterlayer path.js-line").first).to_be_visible(timeout=SHOWN_WITHIN_MS)
    shown = set(signed_in.page.locator(".sensor h3").all_inner_texts())
    assert {
        reading["sensor"] for reading in signed_in.front.api.get(f"devices/{DEMO_DEVICE}/readings/latest")["readings"]
    } >= shown
    assert len(shown) >= 4
    newest = ".sensor .sensor-head time"
    first = signed_in.page.locator(newest).first.get_attribute("datetime")
    wait_for(
        lambda: signed_in.page.locator(newest).first.get_attribute("datetime") != first,
        60,
        f"a reading newer than {first}, untouched",
    )


def test_the_balance_of_the_device_adds_up_and_can_be_unfolded(signed_in: Console) -> None:
    signed_in.choose(DEMO_DEVICE)
    loss = signed_in.page.get_by_label("Loss ledger")
    expect(loss).to_contain_text("stored")
    expect(loss.locator(".shares [data-part=stored]")).to_have_count(1)
    loss.locator("summary").click()
    expect(loss.locator("dl")).to_be_visible()
    expect(loss.locator("summary")).to_contain_text("It adds up")
    wait_until_drawn_anew(signed_in)
    expect(loss.locator("dl")).to_be_visible()


def wait_until_drawn_anew(console: Console) -> None:
    """Until the device's card shows later readings than now."""
    sent = console.page.locator("#device-card .balance b").first
    expect(sent).not_to_have_text(sent.inner_text())


def test_a_press_and_the_focus_outlast_that_the_card_is_drawn_anew(signed_in: Console) -> None:
    signed_in.choose(DEMO_DEVICE)
    page, summary = signed_in.page, signed_in.page.locator("#device-card summary")
    expect(summary).to_be_visible()
    if page.locator("#device-card details[open]").count():
        summary.click()
    summary.hover()
    page.mouse.down()
    wait_until_drawn_anew(signed_in)
    page.mouse.up()
    expect(page.locator("#device-card details[open] dl")).to_be_visible()
    summary.focus()
    wait_until_drawn_anew(signed_in)
    expect(summary).to_be_focused()


def test_a_carrier_is_switched_and_every_state_is_seen(signed_in: Console) -> None:
    signed_in.choose(DEMO_DEVICE)
    row = (
        signed_in.page.locator(".profiles li")
        .filter(has=signed_in.page.get_by_role("button", name=re.compile("^Switch to")))
        .first
    )
    iccid = row.get_attribute("data-key")
    provider = row.locator("b").inner_text()
    row.get_by_role("button").click()
    dialog = signed_in.page.get_by_role("dialog")
    expect(dialog).to_contain_text(f"Switch to {provider}?")
    dialog.get_by_role("button", name="Keep as it is").click()
    expect(dialog).to_be_hidden()
    row.get_by_role("button").click()
    dialog.get_by_role("button", name=f"Switch to {provider}").click()
    newest = signed_in.page.locator(".commands > li").first
    expect(newest).to_contain_text(f"Switch to {provider}")
    expect(newest).to_have_attribute("data-state", "VERIFIED", timeout=90_000)
    expect(newest.locator(".steps li.done")).to_have_count(6)
    expect(signed_in.page.locator("#active-carrier")).to_have_text(provider)
    assert signed_in.text("#active-iccid").replace(" ", "") == iccid
    assert signed_in.front.api.device(DEMO_DEVICE)["active_carrier"]["iccid"] == iccid
    newest.locator("summary").click()
    expect(newest.locator(".history")).to_contain_text("Verified: closed")
    way = signed_in.page.locator("#way")
    expect(way.locator(".station.ok")).to_contain_text("Verified")
    expect(way.locator(".station.done")).to_have_count(5)
    expect(way.locator(".way-facts")).to_contain_text("Proof")
    expect(signed_in.page.locator("#alarms")).to_be_hidden()


def test_a_refusal_is_said_in_words(console: Console) -> None:
    device = "console-refused"
    console.front.api.enrol(device)
    console.sign_in()
    console.choose(device)
    expect(console.page.locator("#device-card")).to_contain_text("Never attached")
    expect(console.page.locator("#sensor-count")).to_have_text("No reading yet")
    assert console.front.api.call("PATCH", f"devices/{device}", {"status": "revoked"}).status == 200
    expect(console.page.locator("#device-card")).to_contain_text("Revoked")
    console.page.get_by_role("button", name="Ping").click()
    expect(console.page.locator("#toasts")).to_contain_text("is revoked")
    console.complaints.clear()  # the browser tells of the 409 as well


def test_what_was_told_meanwhile_is_not_undone_by_an_older_answer(console: Console) -> None:
    device, page, held = "console-late", console.page, []
    console.front.api.enrol(device)
    console.sign_in()

    def hold_the_first(route: Route) -> None:
        held.append((route, route.fetch())) if not held else route.continue_()

    page.route(re.compile(rf"/api/v1/devices/{device}$"), hold_the_first)
    console.choose(device)
    wait_for(lambda: page.wait_for_timeout(20) or held, 60, "the page reads the device")
    assert console.front.api.call("PATCH", f"devices/{device}", {"status": "revoked"}).status == 200
    expect(page.locator("#device-card")).to_contain_text("Revoked")
    route, response = held[0]
    with page.expect_response(re.compile("readings/latest")):
        route.fulfill(response=response)
    assert "Revoked" in console.text("#device-card")


def test_markup_in_what_a_device_sends_stays_text(console: Console) -> None:
    device = "console-markup"
    name = "<img src=x onerror=alert(1)>"
    assert console.front.api.call("POST", "devices", {"id": device, "name": name}).status == 201
    console.sign_in()
    console.choose(device)
    expect(console.page.locator("#device-card strong")).to_have_text(name)
    assert console.page.locator("#device-card img").count() == 0


def test_it_fits_a_phone_and_the_dark(console: Console) -> None:
    console.page.set_viewport_size(PHONE)
    console.sign_in()
    console.choose(DEMO_DEVICE)
    expect(console.page.locator(".sensor").first).to_be_visible(timeout=SHOWN_WITHIN_MS)
    assert console.page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    light = console.page.evaluate("getComputedStyle(document.body).backgroundColor")
    console.page.get_by_role("button", name="Switch between light and dark").click()
    assert console.page.evaluate("getComputedStyle(document.body).backgroundColor") != light
    console.page.reload()
    expect(console.page.locator("#connection")).to_have_text("Live")
    assert console.page.evaluate("getComputedStyle(document.body).backgroundColor") != light


def test_signing_out_ends_the_session(console: Console, context: BrowserContext) -> None:
    console.sign_in()
    assert [cookie["httpOnly"] for cookie in context.cookies()] == [True]
    console.page.get_by_role("button", name="Sign out").click()
    expect(console.page.get_by_label("API token")).to_be_visible()
    assert context.cookies() == []
    console.page.reload()
    expect(console.page.get_by_label("API token")).to_be_visible()
