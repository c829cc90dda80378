"""Rows as COPY's text format takes them: written by hand, because that is four times as fast."""

from schemas.records import Page

PAGE_COLUMNS = (
    "municipality_id, document_id, row_hash, page_number, hash_version, kind, id, text, "
    "page_image, entities, votes, sanitised"
)
"""The columns of `page_line`, in order."""


def field(value: str | None) -> bytes:
    r"""Return a text, or NULL, as one field: tab, newline, return and backslash are escaped.

    Raises UnicodeEncodeError for text that is not UTF-8. The bytes are escaped, not the text: that
    is five times as fast.
    """
    if value is None:
        return rb"\N"
    return (
        value.encode()
        .replace(b"\\", rb"\\")
        .replace(b"\t", rb"\t")
        .replace(b"\n", rb"\n")
        .replace(b"\r", rb"\r")
    )


def page_line(page: Page, municipality: int, document: int) -> bytes:
    """Return a page as one line; UnicodeEncodeError for text that is not UTF-8."""
    numbers = f"{municipality}\t{document}\t{page.row_hash}\t{page.page}\t{page.hash_version}"
    sanitised = "{" + ",".join(page.sanitised) + "}" if page.sanitised else None
    fields = (
        numbers.encode(),
        page.kind.encode(),
        field(page.id),
        field(page.text),
        field(page.page_image),
        field(page.entities),
        field(page.votes),
        field(sanitised),
    )
    return b"\t".join(fields) + b"\n"
