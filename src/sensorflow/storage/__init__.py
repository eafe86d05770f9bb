"""Where readings become durable. The only room that knows SQLAlchemy."""
