"""Checks: pure functions from a history to findings. One file a check, one line in `CHECKS`."""
