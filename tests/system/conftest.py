"""What system tests share: two workers, and a real browser."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, async_playwright

from tests.postgres import Postgres, shared
from tests.requirements import require
from tests.workers import Serve, Workers, clients

CHROMIUM_OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture
async def no_client_left() -> AsyncIterator[None]:
    yield
    while clients:
        client = clients.pop()
        client.close()
        await client.wait_closed()


@pytest.fixture
def postgres() -> Postgres:
    return shared("15")


@pytest.fixture
def database(postgres: Postgres) -> Iterator[str]:
    database = postgres.create_database()
    yield database
    postgres.drop_database(database)


@pytest.fixture
def make(tmp_path: Path, database: str) -> Iterator[Serve]:
    """Make a server with two workers, not yet started."""
    made: list[Workers] = []

    def make(**variables: str) -> Workers:
        folder = tmp_path / str(len(made))
        folder.mkdir()
        made.append(Workers(folder, database, **{"WORKERS": "2", **variables}))
        return made[-1]

    yield make
    for server in made:
        server.kill()


@pytest.fixture
async def server(make: Serve) -> Workers:
    server = make()
    server.start()
    await server.both()
    return server


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    chromium = require("chromium", "chromium")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_OPTIONS)
        yield browser
        await browser.close()
