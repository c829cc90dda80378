-- name: end_standstill
-- End the sinks' transactions that hold positions and have waited for their client for so long: a
-- process that stands still in the middle of a COPY, which no deadline of the server's own ends.
SELECT pg_terminate_backend(pid)
FROM pg_stat_activity AS session
WHERE datname = current_database() AND usename = current_user
  AND application_name LIKE 'pagestream %%' AND pid <> pg_backend_pid()
  AND wait_event = 'ClientRead' AND state_change < now() - %(within)s::interval
  AND EXISTS (
      SELECT FROM pg_locks
      WHERE pg_locks.pid = session.pid AND relation = 'sink_position'::regclass AND granted
  )
