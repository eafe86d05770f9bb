"""The schema's history, applied at start or by `sensorflow db upgrade`."""

HEAD = "0001"
"""The newest revision: a start that finds it in the database need not load Alembic at all."""
