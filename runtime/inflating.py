"""Bodies as they were before they were compressed, in small parts, however well they were."""

import zlib
from collections.abc import Iterable
from typing import Final

from runtime.errors import SourceError

_AUTODETECT_GZIP: Final = 47
_PIECE_BYTES: Final = 256 * 1024


def inflated(raw: Iterable[bytes], encoding: str, asked: str, most: int) -> Iterable[bytes]:
    """Yield the body that came as `raw`; SourceError when it is not what `encoding` says.

    No more than `most` bytes are taken as they come: gzip without end can hold nothing at all.
    `asked` is the host that errors name.
    """
    pieces = _at_most(raw, asked, most)
    if encoding in {"", "identity"}:
        return pieces
    if encoding != "gzip":
        raise SourceError("broken_response", f"{asked} sent {encoding!r} instead of gzip")
    return _gunzipped(pieces, asked)


def _at_most(raw: Iterable[bytes], asked: str, most: int) -> Iterable[bytes]:
    taken = 0
    for piece in raw:
        yield piece
        taken += len(piece)
        if taken > most:
            raise SourceError("too_large", f"{asked} sent more than {most} bytes")


def _gunzipped(raw: Iterable[bytes], asked: str) -> Iterable[bytes]:
    inflater = zlib.decompressobj(_AUTODETECT_GZIP)
    try:
        for piece in raw:
            yield from _parts(inflater, piece)
            if inflater.unused_data:
                raise SourceError("broken_response", f"{asked} sent more after its gzip")
    except zlib.error as error:
        message = f"{asked} sent what is not gzip: {error}"
        raise SourceError("broken_response", message) from error
    if not inflater.eof:
        raise SourceError("broken_response", f"{asked} sent gzip without its end")


def _parts(inflater: "zlib._Decompress", raw: bytes) -> Iterable[bytes]:
    """Yield what `raw` holds, piece by piece: 64 kB of it can hold 64 MB."""
    while raw:
        yield inflater.decompress(raw, _PIECE_BYTES)
        raw = inflater.unconsumed_tail
