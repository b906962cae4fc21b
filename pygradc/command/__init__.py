"""The command line: `python -m pygradc train`."""
