"""Carries committed batches to every worker."""
