"""Engines: where replicas live. One file an engine, one line in `ENGINES`."""
