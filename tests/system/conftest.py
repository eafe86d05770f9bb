"""What system tests share: one server on any database, two workers, and a real browser."""

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright, expect

from tests.postgres import VERSIONS, Postgres, shared
from tests.requirements import require
from tests.servers import Server, serving
from tests.workers import Serve, Workers, clients

CHROMIUM_OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

# Far more than it takes on an idle machine.
expect.set_options(timeout=60_000)


@dataclass
class Backend:
    """A running program, and its database, asked past it."""

    server: Server
    rows: Callable[[str], list[tuple[Any, ...]]]
    embedded: bool


@dataclass
class Kept:
    """Where readings are kept, whether or not a program runs."""

    url: str
    """The `DATABASE_URL`; empty for SQLite."""
    execute: Callable[[str], list[tuple[Any, ...]]]


OLDER, NEWEST = (f"postgresql-{version}" for version in VERSIONS)


# The contract suites hold both versions to the same each time.
@pytest.fixture(params=["sqlite", NEWEST, pytest.param(OLDER, marks=pytest.mark.long)])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Kept]:
    kind, _, version = request.param.partition("-")
    if kind == "sqlite":
        yield Kept("", Server(tmp_path).rows)
        return
    database = shared(version)
    url = database.create_database(migrated=True)
    yield Kept(url, lambda sql: database.execute(sql, database=url))
    database.drop_database(url)


@pytest.fixture
def backend(kept: Kept, tmp_path: Path) -> Iterator[Backend]:
    with serving(tmp_path, DATABASE_URL=kept.url) as server:
        yield Backend(server, kept.execute, embedded=not kept.url)


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
    """One with our tables: whoever makes them loads Alembic first, which takes long."""
    database = postgres.create_database(migrated=True)
    yield database
    postgres.drop_database(database)


@pytest.fixture
def empty_database(postgres: Postgres) -> Iterator[str]:
    """One that the program has to make its tables in."""
    database = postgres.create_database()
    yield database
    postgres.drop_database(database)


@pytest.fixture
def make(tmp_path: Path, database: str) -> Iterator[Serve]:
    """Make a server with two workers, not yet started."""
    made: list[Workers] = []

    def make(url: str = database, **variables: str) -> Workers:
        folder = tmp_path / str(len(made))
        folder.mkdir()
        made.append(Workers(folder, url, **{"WORKERS": "2", **variables}))
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


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    """One for a file's tests, each of which has a context of its own.

    It belongs to the loop that it was made in: whatever awaits it runs in the module's.
    """
    chromium = require("chromium", "chromium")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_OPTIONS)
        yield browser
        await browser.close()
