"""Types of command-line arguments: each converts a text, or says what it should have been."""

from __future__ import annotations

import argparse
import math


def count(text: str) -> int:
    """A whole number of at least 1."""
    return _whole(text, 1, "a whole number of at least 1")


def seed(text: str) -> int:
    """A whole number of at least 0."""
    return _whole(text, 0, "a whole number of at least 0")


def _whole(text: str, least: int, wanted: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if value < least:
        raise argparse.ArgumentTypeError(f"{text!r} is not {wanted}")
    return value


def rate(text: str) -> float:
    """A positive, finite number."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (value > 0 and math.isfinite(value)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return value


def widths(text: str) -> tuple[int, ...]:
    """Widths of layers, separated by commas; () for "none"."""
    if text.strip().lower() == "none":
        return ()
    parts = text.split(",")
    if not all(part.strip().isdecimal() and int(part) > 0 for part in parts):
        wanted = "'none' or widths of at least 1, separated by commas, such as 16,16"
        raise argparse.ArgumentTypeError(f"{text!r} is not {wanted}")
    return tuple(int(part) for part in parts)


def separator(text: str) -> str:
    """A character between fields; "tab" for a tab."""
    found = "\t" if text.lower() in ("tab", "\\t") else text
    if len(found) != 1 or found.isalnum() or found in "\r\n\"'.+-":
        wanted = "one character that separates fields, such as ';', or tab"
        raise argparse.ArgumentTypeError(f"{text!r} is not {wanted}")
    return found
