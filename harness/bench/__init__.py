"""Benchmarks of starts and stops: the same target again and again, honestly timed (``jetable bench``)."""
