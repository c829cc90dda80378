-- name: read
-- The positions of the given partitions that have one, with where they were taken.
SELECT topic, partition, next_offset, applied_to, now() - caught_up_at, cluster_id, topic_id
FROM sink_position
JOIN unnest(%(topics)s::text[], %(partitions)s::int[]) AS given (topic, partition)
    USING (topic, partition)

-- name: move
-- Move each position from where the batch starts to where it ends, if it still stands there; the
-- number of rows says whether all did. Rows are locked in key order, so that two sinks that
-- disagree on who owns what wait for each other instead of deadlocking.
WITH given AS (
    SELECT *
    FROM unnest(%(topics)s::text[], %(partitions)s::int[], %(starts)s::bigint[],
                %(ends)s::bigint[], %(caught_up)s::bool[], %(topic_ids)s::text[])
         AS given (topic, partition, start_offset, end_offset, caught_up, topic_id)
), held AS (
    SELECT topic, partition, end_offset, caught_up
    FROM sink_position
    JOIN given USING (topic, partition)
    WHERE next_offset = start_offset
    ORDER BY topic, partition
    FOR UPDATE OF sink_position
), begun AS (
    INSERT INTO sink_position (topic, partition, next_offset, applied_to, cluster_id, topic_id)
    SELECT topic, partition, end_offset, end_offset, %(cluster_id)s, topic_id
    FROM given
    WHERE start_offset IS NULL
    ORDER BY topic, partition
    ON CONFLICT DO NOTHING
    RETURNING 1
), moved AS (
    UPDATE sink_position
    SET next_offset = end_offset, applied_to = greatest(applied_to, end_offset),
        caught_up_at = CASE WHEN caught_up THEN now() ELSE caught_up_at END
    FROM held
    WHERE sink_position.topic = held.topic AND sink_position.partition = held.partition
    RETURNING 1
)
SELECT (SELECT count(*) FROM begun) + (SELECT count(*) FROM moved)

-- name: go_back
-- Put each position back, if it still stands where it was seen to; the number of rows says whether
-- all did. What was applied stays applied, and counted.
WITH held AS (
    SELECT topic, partition, to_offset, caught_up
    FROM sink_position
    JOIN unnest(%(topics)s::text[], %(partitions)s::int[], %(from_offsets)s::bigint[],
                %(to_offsets)s::bigint[], %(caught_up)s::bool[])
         AS given (topic, partition, from_offset, to_offset, caught_up) USING (topic, partition)
    WHERE next_offset = from_offset
    ORDER BY topic, partition
    FOR UPDATE OF sink_position
), moved AS (
    UPDATE sink_position
    SET next_offset = to_offset,
        caught_up_at = CASE WHEN caught_up THEN now() ELSE caught_up_at END
    FROM held
    WHERE sink_position.topic = held.topic AND sink_position.partition = held.partition
    RETURNING 1
)
SELECT count(*) FROM moved
