-- What readers see. Unqualified tables are those of the generation in the search path: running this
-- with another search path switches every view to that generation.

CREATE SCHEMA IF NOT EXISTS pagestream;

CREATE OR REPLACE VIEW pagestream.municipality AS
SELECT id, subdomain, name, state, country, municipality_kind, pages, last_updated,
       latitude, longitude, popup_data, removed, placeholder
FROM municipality;

CREATE OR REPLACE VIEW pagestream.meeting_document AS
SELECT d.id, d.municipality_id, m.subdomain, d.kind, d.meeting_name, d.meeting_date,
       d.meeting_date_text
FROM meeting_document AS d
JOIN municipality AS m ON m.id = d.municipality_id;

CREATE OR REPLACE VIEW pagestream.meeting_page AS
SELECT p.municipality_id, m.subdomain, p.kind, p.id, p.document_id, d.meeting_name, d.meeting_date,
       d.meeting_date_text, p.page_number, p.text, p.page_image, p.entities, p.votes,
       p.row_hash, p.hash_version, p.sanitised
FROM meeting_page AS p
JOIN meeting_document AS d ON d.id = p.document_id
JOIN municipality AS m ON m.id = p.municipality_id;

CREATE OR REPLACE VIEW pagestream.walk AS
SELECT site AS subdomain, kind, status, walk, mode, window_from, window_to, revision, rows, size,
       steps, phase, cursor, after, listed_by, repairs, attempt, refusals, retry_at, pages,
       rejected, listed, retries, expected, stored, barrier, verdict, verified_at, follow_up,
       follow_up_rows, next_walk_at, next_walk_mode, own_schedule, full_every, incremental_every,
       verify_every, full_verified, full_forced, secret_name, error, last_error, added_at, full_at,
       incremental_at, verify_at, started_at, listed_at, verdict_due_at, ended_at, updated_at
FROM pagestream_log.walk;

-- One row a walk, from its first step on.
CREATE OR REPLACE VIEW pagestream.walk_job AS
SELECT job.site AS subdomain, job.kind, job.walk, job.mode, job.window_from, job.window_to,
       job.status, job.steps, job.pages AS fetched,
       coalesce(figures.created, 0) AS created,
       coalesce(figures.updated, 0) AS updated,
       coalesce(figures.unchanged, 0) AS unchanged,
       coalesce(figures.deleted + figures.removed, 0) AS deleted,
       job.rejected + coalesce(figures.dead_lettered, 0) AS errors,
       job.listed, job.expected, job.stored, job.verdict, job.verified_at, job.retries,
       job.last_error, job.started_at, job.listed_at, job.ended_at
FROM pagestream_log.walk_job AS job
LEFT JOIN pagestream_log.walk_figures AS figures USING (site, kind, walk);

COMMENT ON VIEW pagestream.walk_job IS 'Every walk with its figures.';
COMMENT ON COLUMN pagestream.walk_job.fetched IS 'Pages that the walk and its repairs fetched.';
COMMENT ON COLUMN pagestream.walk_job.created IS 'Pages stored for the first time.';
COMMENT ON COLUMN pagestream.walk_job.updated IS 'Pages stored that differed from what was stored before.';
COMMENT ON COLUMN pagestream.walk_job.unchanged IS 'Pages that were stored already as they came, or deletions of what was not there.';
COMMENT ON COLUMN pagestream.walk_job.deleted IS 'Pages deleted, also because the site was removed.';
COMMENT ON COLUMN pagestream.walk_job.errors IS 'Rows that could not be stored: dead letters.';
COMMENT ON COLUMN pagestream.walk_job.listed IS 'Ids that the site listed at the end of the walk.';
COMMENT ON COLUMN pagestream.walk_job.expected IS 'Pages that should be stored, by the verdict.';
COMMENT ON COLUMN pagestream.walk_job.stored IS 'Pages that were stored, by the verdict.';
COMMENT ON COLUMN pagestream.walk_job.verified_at IS 'The time for which this walk proved the copy complete; null: it did not.';
COMMENT ON COLUMN pagestream.walk_job.retries IS 'How often a request was made again.';

CREATE OR REPLACE VIEW pagestream.walk_figures AS
SELECT site AS subdomain, kind, walk, created, updated, unchanged, deleted, dead_lettered, removed
FROM pagestream_log.walk_figures;

CREATE OR REPLACE VIEW pagestream.walk_barrier AS
SELECT site AS subdomain, kind, number, walk, at
FROM pagestream_log.walk_barrier;

CREATE OR REPLACE VIEW pagestream.dead_letter AS
SELECT number, site AS subdomain, kind, identity, page_id, found_by, reason, message, sqlstate,
       walk, step, topic, partition, record_offset, headers, original, original_length,
       original_digest, first_seen, last_seen, times_seen
FROM pagestream_log.dead_letter;

CREATE OR REPLACE VIEW pagestream.sink_gap AS
SELECT number, generation, topic, partition, from_offset, to_offset, reason, walked, skipped_by,
       skipped_at
FROM pagestream_log.sink_gap;
