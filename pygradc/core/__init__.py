"""The border between Python and the C core: the extension, its ops, errors, ownership, copies."""
