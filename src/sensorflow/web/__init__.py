"""HTTP, WebSocket and the built page. Domain errors become problem+json here, and only here."""
