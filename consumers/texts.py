"""Texts of others, kept beside the copy: errors, cursors, what a record was said to be."""


def storable(text: str) -> str:
    """Return a text as PostgreSQL can store it: NUL and lone surrogates are replaced."""
    return text.replace("\0", "\ufffd").encode(errors="replace").decode()
