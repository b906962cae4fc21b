"""Recorded functions: tracing, programs, rows, executors, training in C."""
