"""Measures the real program; see README.md."""
