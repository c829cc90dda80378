-- name: begin
-- Begin a partition of which nothing has been applied beyond its oldest record.
INSERT INTO sink_position (topic, partition, next_offset, applied_to, cluster_id, topic_id)
VALUES (%(topic)s, %(partition)s, %(to_offset)s, %(to_offset)s, %(cluster_id)s, %(topic_id)s)
ON CONFLICT DO NOTHING

-- name: skip
-- Put a position where the log can be read on, if it still stands where it was seen to. In a log
-- that became shorter, records come again at offsets that were counted before.
UPDATE sink_position
SET next_offset = %(to_offset)s,
    applied_to = CASE WHEN %(to_offset)s < next_offset THEN %(to_offset)s
                      ELSE greatest(applied_to, %(to_offset)s) END,
    caught_up_at = now()
WHERE topic = %(topic)s AND partition = %(partition)s AND next_offset = %(from_offset)s

-- name: record
-- Record what was left out, why, by whom, and the tables that are walked because of it.
INSERT INTO pagestream_log.sink_gap
    (generation, topic, partition, from_offset, to_offset, reason, walked, skipped_by)
VALUES (%(generation)s, %(topic)s, %(partition)s, %(from_offset)s, %(to_offset)s, %(reason)s,
        %(walked)s, %(skipped_by)s)

-- name: all
-- Every gap, the oldest first.
SELECT generation, topic, partition, from_offset, to_offset, reason, walked, skipped_by, skipped_at
FROM pagestream_log.sink_gap
ORDER BY number
