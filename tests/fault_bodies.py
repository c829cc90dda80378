"""Ways to send a real body so that it does not arrive whole, or has no reasonable size."""

import gzip
import zlib

from fix_scripted_source import JSON, Answer, Line, answer, head


def half_of_declared(body: bytes) -> Answer:
    """Declare the whole length, and send half of it."""
    whole = head(200, {"Content-Type": JSON, "Content-Length": len(body)})
    return _and_close(whole + body[: len(body) // 2])


def half_until_closed(body: bytes) -> Answer:
    """Send half of it, without a word on its length: only the closing ends it."""
    return _and_close(head(200, {"Content-Type": JSON}) + body[: len(body) // 2])


def half_in_chunks(body: bytes) -> Answer:
    """Send half of it in a chunk, and never the last chunk."""
    half = body[: len(body) // 2]
    begin = head(200, {"Content-Type": JSON, "Transfer-Encoding": "chunked"})
    return _and_close(begin + f"{len(half):x}\r\n".encode() + half + b"\r\n")


def cut_gzip(body: bytes) -> Answer:
    """Send it as gzip without its end, in a response that is whole."""
    return answer(gzip.compress(body)[:-8], headers={"Content-Encoding": "gzip"})


def bomb(_body: bytes) -> Answer:
    """Send 300 MB of zeros as 300 kB of gzip."""
    deflater = zlib.compressobj(wbits=31)
    first = deflater.compress(bytes(1 << 20)) + deflater.flush(zlib.Z_FULL_FLUSH)
    again = deflater.compress(bytes(1 << 20)) + deflater.flush(zlib.Z_FULL_FLUSH)
    return answer(first + 299 * again, headers={"Content-Encoding": "gzip"})


def of_100_megabytes(_body: bytes) -> Answer:
    """Declare 100 MB and send them, to whoever takes them."""
    megabyte = b" " * (1 << 20)

    def give(line: Line) -> None:
        line.end()
        line.send(head(200, {"Content-Type": JSON, "Content-Length": 100 * len(megabyte)}))
        for _ in range(100):
            line.send(megabyte)

    return give


def _and_close(data: bytes) -> Answer:
    def give(line: Line) -> None:
        line.send(data)
        line.end()

    return give
