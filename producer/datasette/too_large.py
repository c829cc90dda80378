"""Rows that are larger than any response may be: known by their ids alone, and dead-lettered."""

import hashlib

from producer.datasette.asking import Answer
from runtime.errors import SourceError
from runtime.http import MAX_BODY_BYTES
from schemas.commands import TakeStep
from schemas.records import DeadLetter


def too_large_letter(
    step: TakeStep, page_id: str | None, error: SourceError, answer: Answer
) -> DeadLetter:
    """Return the dead letter of a row of which only the first was received, with `error`.

    Its length and its digest are not known: the length given is the least that it can have.
    """
    original = (error.received or "").encode()
    digest = hashlib.sha256(original).hexdigest()
    return DeadLetter(
        site=step.site,
        kind=step.kind,
        identity=page_id or digest,
        page_id=page_id,
        reason="too_large",
        message=str(error),
        original=original,
        original_length=MAX_BODY_BYTES,
        original_digest=digest,
        walk=step.walk,
        step=step.step,
        found_by="walker",
        at=answer.requested_at,
    )
