-- name: keep
-- Keep the newest state of a table's walk: one that is older, or the same, writes nothing.
INSERT INTO pagestream_log.walk (
    site, kind, revision, status, walk, mode, window_from, window_to, rows, size, steps, phase,
    cursor, after, listed_by, repairs, attempt, refusals, retry_at, pages, rejected, listed,
    retries, expected, stored, barrier, listed_at, verdict_due_at, verdict, verified_at, follow_up,
    follow_up_rows, next_walk_at, next_walk_mode, own_schedule, full_every, incremental_every,
    verify_every, added_at, full_at, incremental_at, verify_at, full_verified, full_forced,
    secret_name, error, last_error, started_at, ended_at, updated_at
)
VALUES (
    %(site)s, %(kind)s, %(revision)s, %(status)s, %(walk)s, %(mode)s, %(window_from)s,
    %(window_to)s, %(rows)s, %(size)s, %(steps)s, %(phase)s, %(cursor)s, %(after)s, %(listed_by)s,
    %(repairs)s, %(attempt)s, %(refusals)s, %(retry_at)s, %(pages)s, %(rejected)s, %(listed)s,
    %(retries)s, %(expected)s, %(stored)s, %(barrier)s, %(listed_at)s, %(verdict_due_at)s,
    %(verdict)s, %(verified_at)s, %(follow_up)s, %(follow_up_rows)s, %(next_walk_at)s,
    %(next_walk_mode)s, %(own_schedule)s, %(full_every)s, %(incremental_every)s, %(verify_every)s,
    %(added_at)s, %(full_at)s, %(incremental_at)s, %(verify_at)s, %(full_verified)s,
    %(full_forced)s, %(secret_name)s, %(error)s, %(last_error)s, %(started_at)s, %(ended_at)s,
    %(updated_at)s
)
ON CONFLICT (site, kind) DO UPDATE SET
    revision = excluded.revision, status = excluded.status, walk = excluded.walk,
    mode = excluded.mode, window_from = excluded.window_from, window_to = excluded.window_to,
    rows = excluded.rows, size = excluded.size, steps = excluded.steps, phase = excluded.phase,
    cursor = excluded.cursor, after = excluded.after, listed_by = excluded.listed_by,
    repairs = excluded.repairs, attempt = excluded.attempt, refusals = excluded.refusals,
    retry_at = excluded.retry_at, pages = excluded.pages, rejected = excluded.rejected,
    listed = excluded.listed, retries = excluded.retries, expected = excluded.expected,
    stored = excluded.stored, barrier = excluded.barrier, listed_at = excluded.listed_at,
    verdict_due_at = excluded.verdict_due_at, verdict = excluded.verdict,
    verified_at = excluded.verified_at, follow_up = excluded.follow_up,
    follow_up_rows = excluded.follow_up_rows, next_walk_at = excluded.next_walk_at,
    next_walk_mode = excluded.next_walk_mode, own_schedule = excluded.own_schedule,
    full_every = excluded.full_every, incremental_every = excluded.incremental_every,
    verify_every = excluded.verify_every, added_at = excluded.added_at,
    full_at = excluded.full_at, incremental_at = excluded.incremental_at,
    verify_at = excluded.verify_at, full_verified = excluded.full_verified,
    full_forced = excluded.full_forced, secret_name = excluded.secret_name,
    error = excluded.error, last_error = excluded.last_error, started_at = excluded.started_at,
    ended_at = excluded.ended_at, updated_at = excluded.updated_at
WHERE walk.revision < excluded.revision

-- name: keep_job
-- Keep the newest state of one walk: it stays when the table's next walk has begun.
INSERT INTO pagestream_log.walk_job (
    site, kind, walk, revision, status, mode, window_from, window_to, steps, pages, rejected,
    listed, retries, expected, stored, verdict, verified_at, last_error, started_at, listed_at,
    ended_at
)
VALUES (
    %(site)s, %(kind)s, %(walk)s, %(revision)s, %(status)s, %(mode)s, %(window_from)s,
    %(window_to)s, %(steps)s, %(pages)s, %(rejected)s, %(listed)s, %(retries)s, %(expected)s,
    %(stored)s, %(verdict)s, %(verified_at)s, %(last_error)s, %(started_at)s, %(listed_at)s,
    %(ended_at)s
)
ON CONFLICT (site, kind, walk) DO UPDATE SET
    revision = excluded.revision, status = excluded.status, mode = excluded.mode,
    window_from = excluded.window_from, window_to = excluded.window_to, steps = excluded.steps,
    pages = excluded.pages, rejected = excluded.rejected, listed = excluded.listed,
    retries = excluded.retries, expected = excluded.expected, stored = excluded.stored,
    verdict = excluded.verdict, verified_at = excluded.verified_at,
    last_error = excluded.last_error, started_at = excluded.started_at,
    listed_at = excluded.listed_at, ended_at = excluded.ended_at
WHERE walk_job.revision < excluded.revision

-- name: remove_job
-- End a walk whose table was removed under it; one that had ended stays as it ended.
UPDATE pagestream_log.walk_job
SET status = 'removed', revision = %(revision)s, ended_at = %(updated_at)s
WHERE site = %(site)s AND kind = %(kind)s AND walk = %(walk)s AND revision < %(revision)s
  AND status IN ('in_progress', 'paused', 'verifying')
