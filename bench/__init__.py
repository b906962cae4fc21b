"""Benchmarks: what a training step costs here and elsewhere. Start at `run.py`."""
