-- name: store
-- Keep a record that cannot be stored. Walked over again it is the same one, seen once more; the
-- record that brought it is told from one applied again by its place in the topic.
INSERT INTO pagestream_log.dead_letter (
    site, kind, identity, page_id, found_by, reason, message, sqlstate, walk, step,
    topic, partition, record_offset, headers, original, original_length, original_digest,
    first_seen, last_seen
)
VALUES (
    %(site)s, %(kind)s, %(identity)s, %(page_id)s, %(found_by)s, %(reason)s, %(message)s,
    %(sqlstate)s, %(walk)s, %(step)s, %(topic)s, %(partition)s, %(offset)s, %(headers)s,
    %(original)s, %(original_length)s, %(original_digest)s, %(at)s, %(at)s
)
ON CONFLICT (site, kind, identity) DO UPDATE SET
    page_id = excluded.page_id, found_by = excluded.found_by, reason = excluded.reason,
    message = excluded.message, sqlstate = excluded.sqlstate, walk = excluded.walk,
    step = excluded.step, topic = excluded.topic, partition = excluded.partition,
    record_offset = excluded.record_offset, headers = excluded.headers,
    original = excluded.original, original_length = excluded.original_length,
    original_digest = excluded.original_digest, last_seen = excluded.last_seen,
    times_seen = dead_letter.times_seen + 1
WHERE (dead_letter.topic, dead_letter.partition) <> (excluded.topic, excluded.partition)
   OR dead_letter.record_offset < excluded.record_offset

-- name: count_recent
-- How many records of a topic sinks found at fault within the given time, for the first time.
SELECT count(*)
FROM pagestream_log.dead_letter
WHERE first_stored > now() - %(within)s::interval AND topic = %(topic)s AND found_by = 'sink'
