"""Files that are written whole or not at all: zip archives of arrays, with checksums."""
