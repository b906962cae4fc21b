"""The first bytes of a file, which tell its kind."""

PROGRAM = b"pygradc\0"
ARCHIVE = b"PK"
