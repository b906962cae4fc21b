"""The commands of `python -m pygradc`: a module each, listed in `pygradc/__main__.py`.

A command's module has `add_arguments(parser)`, which sets the parser's description and, as epilog,
examples; and `run(arguments)`, which returns the exit code. It raises what `errors.py` prints.
"""
