-- name: stored_hashes
-- The row hash of each of the given pages that is stored. The ids of all tables stand in one array,
-- each table's from `first_id` to `last_id`. The key's index holds the hash: no row is read.
SELECT given.place, page.id, page.row_hash
FROM unnest(%(municipalities)s::bigint[], %(kinds)s::text[], %(firsts)s::int[], %(lasts)s::int[])
     WITH ORDINALITY AS given (municipality_id, kind, first_id, last_id, place)
CROSS JOIN LATERAL (
    SELECT id, row_hash
    FROM meeting_page
    WHERE municipality_id = given.municipality_id
      AND kind = given.kind
      AND id = ANY ((%(ids)s::text[])[given.first_id:given.last_id])
) AS page

-- name: known_documents
-- Which of the given documents are there.
SELECT id FROM meeting_document WHERE id = ANY (%(ids)s::bigint[])

-- name: add_documents
-- Make documents, in key order.
INSERT INTO meeting_document (
    id, municipality_id, kind, meeting_name, meeting_date_text, meeting_date
)
SELECT *
FROM unnest(%(ids)s::bigint[], %(municipalities)s::bigint[], %(kinds)s::text[],
            %(meetings)s::text[], %(texts)s::text[], %(dates)s::date[]) AS given (id)
ORDER BY id
ON CONFLICT DO NOTHING

-- name: create_staging
-- Where changed pages wait for the upsert: this connection's own, emptied by each commit.
CREATE TEMPORARY TABLE changed_page (LIKE meeting_page) ON COMMIT DELETE ROWS

-- name: documents_left
-- The documents that the changed pages belong to so far.
SELECT DISTINCT page.document_id
FROM changed_page
JOIN meeting_page AS page USING (municipality_id, kind, id)
WHERE page.document_id <> changed_page.document_id

-- name: upsert
-- Write the changed pages, in key order. A row that is equal after all is left untouched.
INSERT INTO meeting_page
SELECT * FROM changed_page ORDER BY municipality_id, kind, id
ON CONFLICT (municipality_id, kind, id) DO UPDATE SET
    document_id = excluded.document_id, row_hash = excluded.row_hash,
    page_number = excluded.page_number, hash_version = excluded.hash_version,
    text = excluded.text, page_image = excluded.page_image, entities = excluded.entities,
    votes = excluded.votes, sanitised = excluded.sanitised
WHERE meeting_page.row_hash IS DISTINCT FROM excluded.row_hash

-- name: delete_pages
-- Delete the given pages; returns the document of each.
DELETE FROM meeting_page AS page
USING unnest(%(municipalities)s::bigint[], %(kinds)s::text[], %(ids)s::text[])
      AS given (municipality_id, kind, id)
WHERE page.municipality_id = given.municipality_id
  AND page.kind = given.kind
  AND page.id = given.id
RETURNING page.document_id

-- name: delete_empty_documents
-- Delete those of the given documents that have no page left.
DELETE FROM meeting_document AS document
WHERE id = ANY (%(ids)s::bigint[])
  AND NOT EXISTS (SELECT FROM meeting_page WHERE document_id = document.id)

-- name: delete_table_pages
-- Delete every page of a removed table.
DELETE FROM meeting_page WHERE municipality_id = %(municipality)s AND kind = %(kind)s

-- name: delete_table_documents
-- Delete every document of a removed table.
DELETE FROM meeting_document WHERE municipality_id = %(municipality)s AND kind = %(kind)s

-- name: pass_barrier
-- Note the newest barrier of a table.
INSERT INTO pagestream_log.walk_barrier (site, kind, number, walk, at)
VALUES (%(site)s, %(kind)s, %(number)s, %(walk)s, %(at)s)
ON CONFLICT (site, kind) DO UPDATE SET
    number = excluded.number, walk = excluded.walk, at = excluded.at
WHERE walk_barrier.number < excluded.number

-- name: add_figures
-- Add what became of a walk's records to its figures.
INSERT INTO pagestream_log.walk_figures (
    site, kind, walk, created, updated, unchanged, deleted, dead_lettered, removed
)
VALUES (
    %(site)s, %(kind)s, %(walk)s, %(created)s, %(updated)s, %(unchanged)s, %(deleted)s,
    %(dead_lettered)s, %(removed)s
)
ON CONFLICT (site, kind, walk) DO UPDATE SET
    created = walk_figures.created + excluded.created,
    updated = walk_figures.updated + excluded.updated,
    unchanged = walk_figures.unchanged + excluded.unchanged,
    deleted = walk_figures.deleted + excluded.deleted,
    dead_lettered = walk_figures.dead_lettered + excluded.dead_lettered,
    removed = walk_figures.removed + excluded.removed
