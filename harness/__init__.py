"""Jetable: prove that an app can be thrown away at any moment."""

__version__ = "0.1.0"
