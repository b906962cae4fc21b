"""Builds the C core through cffi; everything else about the package is in pyproject.toml."""

from setuptools import setup

setup(cffi_modules=["pygradc/_build.py:ffi"])
