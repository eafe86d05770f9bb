"""Every way in which a `DATABASE_URL` may be written reaches the database."""

from collections.abc import Callable, Iterator
from urllib.parse import quote

import pytest

from sensorflow.errors import StorageUnavailable
from sensorflow.storage.postgres.storage import PostgresStorage
from tests.helpers import server_reading
from tests.postgres import ROLE, SUPERUSER, Postgres, shared

STRANGE = "p@ss:w/o?r#d%41 [ü]&='"
"""A password with everything that a URL gives a meaning."""

Write = Callable[[Postgres, str], str]


@pytest.fixture(scope="module", params=["15", "18"])
def database(request: pytest.FixtureRequest) -> Iterator[tuple[Postgres, str]]:
    """A server with a role of that password, and the database's name."""
    server = shared(request.param)
    url = server.create_database(migrated=True)
    quoted = STRANGE.replace("'", "''")
    server.script(f"CREATE ROLE strange LOGIN PASSWORD '{quoted}' IN ROLE {ROLE}", SUPERUSER)
    yield server, url.rpartition("/")[2]
    server.drop_database(url)
    server.script("DROP ROLE strange", SUPERUSER)


def encoded(server: Postgres, name: str) -> str:
    return f"postgresql://strange:{quote(STRANGE, safe='')}@127.0.0.1:{server.port}/{name}"


@pytest.mark.parametrize(
    "write",
    [
        encoded,
        lambda server, name: encoded(server, name).replace("postgresql://", "postgres://"),
        lambda server, name: (
            f"postgresql://strange:{STRANGE.replace('%', '%25')}@127.0.0.1:{server.port}/{name}"
        ),
        lambda server, name: encoded(server, name) + "?sslmode=disable",
        lambda server, name: encoded(server, name) + "?sslmode=prefer",
        lambda server, name: (
            f"postgresql://strange@/{name}?host={server.socket_folder}&port={server.port}"
        ),
        lambda server, name: (
            f"postgresql://strange@{quote(str(server.socket_folder), safe='')}:{server.port}/{name}"
        ),
    ],
    ids=[
        "encoded",
        "postgres",
        "as it is",
        "no TLS",
        "TLS if there is",
        "socket",
        "socket as host",
    ],
)
async def test_readings_are_stored_there(database: tuple[Postgres, str], write: Write) -> None:
    storage = PostgresStorage(write(*database))
    await storage.start()
    try:
        (stored,) = await storage.append([server_reading("a")])
        assert (await storage.newest()) == stored.reading
    finally:
        await storage.close()


@pytest.mark.parametrize(
    ("write", "why"),
    [
        (lambda server, name: encoded(server, name) + "?sslmode=require", "SSL"),
        (
            lambda server, name: f"postgresql://strange:{STRANGE}x@127.0.0.1:{server.port}/{name}",
            "password authentication failed",
        ),
        (lambda server, name: encoded(server, "no-such-database"), "does not exist"),
    ],
    ids=["TLS", "wrong password", "no such database"],
)
async def test_what_does_not_fit_is_told_without_the_password(
    database: tuple[Postgres, str], write: Write, why: str
) -> None:
    storage = PostgresStorage(write(*database))
    with pytest.raises(StorageUnavailable, match=why) as refused:
        await storage.start()
    assert STRANGE[:6] not in str(refused.value)
    await storage.close()
