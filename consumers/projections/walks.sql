-- name: keep
-- Keep the newest state of a table's walk: one that is older, or the same, writes nothing.
INSERT INTO pagestream_log.walk (
    site, kind, revision, status, walk, mode, rows, steps, attempt, phase, cursor, after,
    pages, rejected, listed, barrier, follow_up, follow_up_rows, error,
    started_at, listed_at, ended_at, updated_at
)
VALUES (
    %(site)s, %(kind)s, %(revision)s, %(status)s, %(walk)s, %(mode)s, %(rows)s, %(steps)s,
    %(attempt)s, %(phase)s, %(cursor)s, %(after)s, %(pages)s, %(rejected)s, %(listed)s,
    %(barrier)s, %(follow_up)s, %(follow_up_rows)s, %(error)s,
    %(started_at)s, %(listed_at)s, %(ended_at)s, %(updated_at)s
)
ON CONFLICT (site, kind) DO UPDATE SET
    revision = excluded.revision, status = excluded.status, walk = excluded.walk,
    mode = excluded.mode, rows = excluded.rows, steps = excluded.steps,
    attempt = excluded.attempt, phase = excluded.phase, cursor = excluded.cursor,
    after = excluded.after, pages = excluded.pages, rejected = excluded.rejected,
    listed = excluded.listed, barrier = excluded.barrier, follow_up = excluded.follow_up,
    follow_up_rows = excluded.follow_up_rows, error = excluded.error,
    started_at = excluded.started_at, listed_at = excluded.listed_at,
    ended_at = excluded.ended_at, updated_at = excluded.updated_at
WHERE walk.revision < excluded.revision
