"""API keys: made, hashed, verified, bounded."""
