-- The tables of one generation: a whole copy of the sites. The search path says which.
--
-- The ids of municipalities and documents are 64-bit hashes of their natural keys, computed by the
-- program (consumers/identities.py): the same in every generation, whoever inserts first.

CREATE TABLE municipality (
    id                bigint PRIMARY KEY,
    pages             bigint,
    latitude          double precision,
    longitude         double precision,
    removed           boolean NOT NULL DEFAULT false,
    placeholder       boolean NOT NULL,
    subdomain         text COLLATE "C" NOT NULL UNIQUE,
    name              text,
    state             text,
    country           text,
    municipality_kind text,
    last_updated      text,
    popup_data        text
);

COMMENT ON TABLE municipality IS 'The sites.';
COMMENT ON COLUMN municipality.pages IS 'The site''s own word for how many pages it has, not a count of ours.';
COMMENT ON COLUMN municipality.last_updated IS 'As the site gave it.';
COMMENT ON COLUMN municipality.placeholder IS 'Only a page of it is known so far, not the site itself.';
COMMENT ON COLUMN municipality.removed IS 'An operator removed the site.';

CREATE TABLE meeting_document (
    id                bigint PRIMARY KEY,
    municipality_id   bigint NOT NULL REFERENCES municipality,
    meeting_date      date,
    kind              text COLLATE "C" NOT NULL CHECK (kind IN ('agenda', 'minutes')),
    meeting_name      text,
    meeting_date_text text
);

-- The natural key, by the digests of its texts: a text as long as a page would not fit an index.
CREATE UNIQUE INDEX meeting_document_natural_key
    ON meeting_document (municipality_id, kind, md5(meeting_name), md5(meeting_date_text))
    NULLS NOT DISTINCT;

COMMENT ON TABLE meeting_document IS 'The documents: one agenda or one set of minutes of a meeting. Each has pages.';
COMMENT ON COLUMN meeting_document.meeting_date_text IS 'The date as the site gave it.';
COMMENT ON COLUMN meeting_document.meeting_date IS 'The date, where the text is a real one in the form YYYY-MM-DD.';

-- The hash is in the key's index, so that whole tables are compared without reading their rows.
CREATE TABLE meeting_page (
    municipality_id bigint NOT NULL,
    document_id     bigint NOT NULL REFERENCES meeting_document,
    row_hash        bigint,
    page_number     integer NOT NULL,
    hash_version    smallint NOT NULL,
    kind            text COLLATE "C" NOT NULL,
    id              text COLLATE "C" NOT NULL,
    text            text,
    page_image      text,
    entities        text,
    votes           text,
    sanitised       text[],
    PRIMARY KEY (municipality_id, kind, id) INCLUDE (row_hash)
);

CREATE INDEX meeting_page_document ON meeting_page (document_id);

COMMENT ON TABLE meeting_page IS 'The pages of the documents, as the sites gave them.';
COMMENT ON COLUMN meeting_page.id IS 'The site''s own id of the page, unique within site and kind.';
COMMENT ON COLUMN meeting_page.row_hash IS 'The hash of the page''s fields (schemas/hashing.py); null where it must be fetched again.';
COMMENT ON COLUMN meeting_page.entities IS 'As the site gave it: JSON, mostly.';
COMMENT ON COLUMN meeting_page.votes IS 'As the site gave it: JSON, mostly.';
COMMENT ON COLUMN meeting_page.sanitised IS 'The fields that held characters PostgreSQL cannot store; null: none.';

CREATE TABLE sink_position (
    topic        text COLLATE "C" NOT NULL,
    partition    integer NOT NULL,
    next_offset  bigint NOT NULL,
    applied_to   bigint NOT NULL,
    cluster_id   text NOT NULL,
    topic_id     text NOT NULL,
    caught_up_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (topic, partition)
) WITH (fillfactor = 50);

COMMENT ON TABLE sink_position IS 'How far the sink has applied each partition: written with the rows, so it is the truth.';
COMMENT ON COLUMN sink_position.next_offset IS 'The offset of the next record to be applied.';
COMMENT ON COLUMN sink_position.applied_to IS 'The highest next_offset ever: records below it have been counted.';
COMMENT ON COLUMN sink_position.caught_up_at IS 'When the partition was last applied to its end, or begun: from then on its log keeps every deletion beyond next_offset for as long as the topic keeps deletions.';

-- lz4 is read and written in half the time; servers can be built without it.
DO $$
DECLARE
    field text;
BEGIN
    FOREACH field IN ARRAY ARRAY['text', 'page_image', 'entities', 'votes'] LOOP
        EXECUTE format('ALTER TABLE meeting_page ALTER COLUMN %I SET COMPRESSION lz4', field);
    END LOOP;
EXCEPTION
    WHEN feature_not_supported THEN
        RAISE NOTICE 'this server was built without lz4: text is compressed by pglz, at about two thirds of the speed';
END
$$;
