"""The schema's history, applied at start or by `sensorflow db upgrade`."""

from sqlalchemy import Connection, inspect, text

from sensorflow.errors import StorageUnavailable

HEAD = "0005"
"""The newest revision: a start that finds it in the database need not load Alembic at all."""


def upgrade(connection: Connection) -> bool:
    """Apply the migrations that `connection`'s database lacks; tell whether there were any.

    Raises `StorageUnavailable` where a newer version of the program has been at the database.
    """
    if connection.dialect.name == "postgresql":
        # Workers start at the same time; the first one migrates, the others find it done.
        connection.execute(text("SET LOCAL lock_timeout = '60s'"))
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('sensorflow migrations'))"))
    found = None
    if inspect(connection).has_table("alembic_version"):
        found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
        if found == HEAD:
            return False
    # Loaded here because it takes longer than an ordinary start.
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", "sensorflow.storage:migrations")
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError:
        raise StorageUnavailable(
            f"its schema {found} is not known to this version; run a newer version"
        ) from None
    return True
