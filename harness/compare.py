"""Benches compared, phase by phase."""
