"""Moving in: from the original, and from SQLite to PostgreSQL."""
