"""From the embedded database to PostgreSQL: every table that both have, row by row."""
