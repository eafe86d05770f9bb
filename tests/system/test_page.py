"""The page in a real browser: signed in, moving, reconnecting, and usable by everybody."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, ConsoleMessage, Locator, Page, expect

from sensorflow.readings import KNOWN_MEASUREMENTS
from tests.devices import send, send_many
from tests.door import door_to
from tests.helpers import eventually
from tests.servers import READ_KEY, Server, http, serving

MINUTE = timedelta(minutes=1)
AXE = Path(__file__).parents[2] / "dashboard/node_modules/axe-core/axe.min.js"


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with serving(tmp_path) as server:
        yield server


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that is sent nothing."""
    with serving(tmp_path_factory.mktemp("empty")) as server:
        yield server


@pytest_asyncio.fixture(loop_scope="module")
async def page(browser: Browser) -> AsyncIterator[Page]:
    """A page that may not complain: an error, or a breach of the policy, fails the test."""
    complaints: list[str] = []

    def listen(message: ConsoleMessage) -> None:
        # The browser itself reports refused requests and lost connections, which are meant here.
        if message.type == "error" and not any(
            expected in message.text for expected in ("Failed to load resource", "WebSocket")
        ):
            complaints.append(message.text)

    page = await browser.new_page(locale="en-GB")
    page.on("console", listen)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    await page.close()
    assert complaints == []


async def sign_in(page: Page, server: Server) -> None:
    await page.goto(f"{server.base}/#key={READ_KEY}")
    await expect(page.locator('[data-connection="live"]')).to_be_visible()


def value(page: Page, sensor: str, measurement: str = "temperature") -> str:
    return f'[data-sensor="{sensor}"] [data-measurement="{measurement}"] [data-value]'


async def test_the_link_signs_in_and_leaves_no_key_behind(page: Page, empty: Server) -> None:
    await sign_in(page, empty)
    await expect(page.locator('[data-view="empty"]')).to_be_visible()
    await expect(page.locator('[data-view="empty"]')).to_contain_text("curl")
    assert READ_KEY not in page.url
    kept = await page.evaluate(
        "JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie, history.length])"
    )
    assert READ_KEY not in kept
    await page.reload()
    await expect(page.locator('[data-connection="live"]')).to_be_visible()
    await page.go_back()
    assert READ_KEY not in page.url


async def test_the_form_signs_in_and_tells_a_wrong_key(page: Page, empty: Server) -> None:
    await page.goto(empty.base)
    field = page.locator('input[type="password"]')
    await field.fill("not the key")
    await field.press("Enter")
    await expect(page.get_by_role("alert")).to_be_visible()
    await field.fill(READ_KEY)
    await field.press("Enter")
    await expect(page.locator('[data-view="empty"]')).to_be_visible()


async def test_a_reading_appears_and_its_card_moves(page: Page, server: Server) -> None:
    await sign_in(page, server)
    await send(server, "kitchen", 21.5, co2=417)
    await expect(page.locator(value(page, "kitchen"))).to_have_text("21.5")
    await expect(page.locator(value(page, "kitchen", "co2"))).to_have_text("417")
    for n in range(5):
        await send(server, "kitchen", 22 + n)
    await expect(page.locator(value(page, "kitchen"))).to_have_text("26.0")
    chart = page.locator('[data-sensor="kitchen"] [data-measurement="temperature"] canvas')
    await expect(chart).to_have_attribute("data-points", "6")
    await send(server, "cellar", -3.25)
    await expect(page.locator(value(page, "cellar"))).to_contain_text("3.25")
    await expect(page.locator("[data-sensor]")).to_have_count(2)


async def test_a_hostile_sensor_id_is_only_text(page: Page, server: Server) -> None:
    await sign_in(page, server)
    hostile = "<img src=x onerror=alert(1)>"
    await send(server, hostile, 1)
    await expect(page.get_by_role("heading", name=hostile)).to_be_visible()
    assert await page.locator("img[src=x]").count() == 0


async def test_the_page_reconnects_by_itself_after_a_restart(page: Page, server: Server) -> None:
    await sign_in(page, server)
    await send(server, "kitchen", 1)
    await expect(page.locator(value(page, "kitchen"))).to_have_text("1.0")
    server.kill()
    await expect(page.locator('[data-connection="reconnecting"]')).to_be_visible()
    await asyncio.to_thread(server.start)
    await expect(page.locator('[data-connection="live"]')).to_be_visible(timeout=60_000)
    await send(server, "kitchen", 2)
    await expect(page.locator(value(page, "kitchen"))).to_have_text("2.0")


async def test_a_reconnect_leaves_no_hole(page: Page, server: Server) -> None:
    def chart(sensor: str) -> Locator:
        return page.locator(f'[data-sensor="{sensor}"] [data-measurement="temperature"] canvas')

    async with door_to(server.port) as door:
        await page.goto(f"http://127.0.0.1:{door.port}/#key={READ_KEY}")
        await send(server, "kitchen", 1)
        await expect(chart("kitchen")).to_have_attribute("data-points", "1")
        # The second time the page comes with a cursor that has brought it nothing.
        for missed in (0, 10):
            door.shut(politely=True)
            await asyncio.to_thread(server.terminate)
            await asyncio.to_thread(server.start)
            for number in range(missed):
                await send(server, "kitchen", number)
                await send(server, "cellar", number)
            await asyncio.wait_for(door.turned_away.wait(), 20)
            door.open()
            # As when somebody looks at the page again; it would else wait a few seconds more.
            await page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
            await expect(page.locator('[data-connection="live"]')).to_be_visible(timeout=60_000)
        await expect(chart("kitchen")).to_have_attribute("data-points", "11")
        await expect(chart("cellar")).to_have_attribute("data-points", "10")


async def test_the_charts_begin_with_history(page: Page, server: Server) -> None:
    now = datetime.now(UTC)
    for sensor, names in (("kitchen", KNOWN_MEASUREMENTS), ("line-3", ("concentration", "flow"))):
        await send_many(
            server,
            [
                {"sensor_id": sensor, "recorded_at": (now - minute * MINUTE).isoformat()}
                | dict.fromkeys(names, float(minute))
                for minute in range(1, 181)
            ],
        )

    # Sensors are known from their readings about a second later.
    read = {"X-API-Key": READ_KEY}
    await eventually(
        lambda: http(server.port, "GET /api/sensors", headers=read).count(b'"stored":180,') == 2
    )

    def chart(sensor: str, measurement: str) -> Locator:
        return page.locator(
            f'[data-sensor="{sensor}"] [data-measurement="{measurement}"] canvas[data-points]'
        )

    async def points(of: Locator, number: str) -> None:
        await expect(of).to_have_attribute("data-points", re.compile(f"^({number})$"))

    await sign_in(page, server)
    await expect(page.locator(value(page, "kitchen"))).to_have_text("1.0")
    await points(chart("kitchen", "temperature"), "5[5-9]|6[01]")
    await points(chart("line-3", "flow"), "5[5-9]|6[01]")

    await page.get_by_role("radio", name="Last hour").focus()
    await page.keyboard.press("ArrowRight")
    await expect(page.get_by_role("radio", name="Last 24 hours")).to_be_checked()
    await points(chart("kitchen", "temperature"), "3[5-9]")
    await send(server, "kitchen", 21.5)
    await expect(page.locator(value(page, "kitchen"))).to_have_text("21.5")
    await points(chart("kitchen", "temperature"), "3[5-9]")
    await page.reload()
    await expect(page.get_by_role("radio", name="Last 24 hours")).to_be_checked()
    await points(chart("line-3", "flow"), "3[5-9]")

    async with page.expect_download() as saved:
        await page.get_by_role("link", name="Readings of line-3 as a CSV file").press("Enter")
    download = await saved.value
    assert download.suggested_filename.endswith(".csv")
    lines = (await download.path()).read_text().splitlines()
    assert "concentration" in lines[0]
    assert len(lines) == 1 + 180


async def test_signing_out_ends_the_session(page: Page, empty: Server) -> None:
    await sign_in(page, empty)
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.locator('[data-view="sign-in"]')).to_be_visible()
    await page.reload()
    await expect(page.locator('[data-view="sign-in"]')).to_be_visible()


async def test_it_speaks_brazilian_portuguese(browser: Browser, server: Server) -> None:
    page = await browser.new_page(locale="pt-BR")
    await sign_in(page, server)
    await send(server, "cozinha", 21.5)
    await expect(page.locator(value(page, "cozinha"))).to_have_text("21,5")
    assert await page.locator("html").get_attribute("lang") == "pt-BR"
    await page.close()


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with readings of few measurements and of many, which nobody sends any more."""
    with serving(tmp_path_factory.mktemp("filled")) as server:
        free = {f"slot{number}.load": number / 7 for number in range(64)}
        asyncio.run(send(server, "kitchen", 21.5))
        asyncio.run(send(server, "cellar", 12.5, co2=417))
        asyncio.run(send_many(server, [{"sensor_id": "rack", **free}]))
        yield server


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
async def test_it_is_usable_by_everybody(
    browser: Browser, empty: Server, filled: Server, scheme: str, width: int
) -> None:
    context = await browser.new_context(
        color_scheme="dark" if scheme == "dark" else "light",
        viewport={"width": width, "height": 900},
        locale="en-GB",
    )
    page = await context.new_page()
    for view in ("sign-in", "empty", "sensors"):
        if view == "sign-in":
            await page.goto(empty.base)
        elif view == "empty":
            await sign_in(page, empty)
        else:
            await sign_in(page, filled)
        await expect(page.locator(f'[data-view="{view}"]')).to_be_visible()
        if view == "sensors":
            await page.get_by_role("button", name="Show all 64 measurements").press("Enter")
            await expect(page.locator('[data-sensor="rack"] [data-value]')).to_have_count(64)
            await expect(page.locator(value(page, "kitchen"))).to_have_text("21.5")
            await expect(page.locator(value(page, "cellar", "co2"))).to_have_text("417")
        await page.evaluate(AXE.read_text())
        violations = await page.evaluate(
            "axe.run().then(r => r.violations.map(v => [v.id, v.nodes.map(n => n.html)]))"
        )
        assert violations == [], view
        assert await page.evaluate(
            "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
        ), view
    await context.close()


async def test_the_api_description_opens_offline(page: Page, empty: Server) -> None:
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    await page.goto(f"{empty.base}/docs")
    await expect(page.get_by_text("/api/temperature_reading").first).to_be_visible()
    assert all(url.startswith((empty.base, "data:")) for url in requests)
