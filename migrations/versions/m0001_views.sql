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
SELECT site AS subdomain, kind, status, walk, mode, revision, rows, steps, attempt, phase, cursor,
       after, pages, rejected, listed, barrier, follow_up, follow_up_rows, error, started_at,
       listed_at, ended_at, updated_at
FROM pagestream_log.walk;

CREATE OR REPLACE VIEW pagestream.walk_figures AS
SELECT site AS subdomain, kind, walk, created, updated, unchanged, deleted, dead_lettered
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
