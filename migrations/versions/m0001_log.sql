-- What is told once, whichever generation of the copy is shown.

CREATE TABLE pagestream_log.walk (
    site           text COLLATE "C" NOT NULL,
    kind           text COLLATE "C" NOT NULL,
    revision       bigint NOT NULL,
    status         text NOT NULL,
    walk           bigint NOT NULL,
    mode           text NOT NULL,
    rows           integer NOT NULL,
    steps          bigint NOT NULL,
    attempt        integer NOT NULL,
    phase          text,
    cursor         text,
    after          text,
    pages          bigint NOT NULL,
    rejected       bigint NOT NULL,
    listed         bigint NOT NULL,
    barrier        bigint NOT NULL,
    follow_up      text,
    follow_up_rows integer,
    error          text,
    started_at     timestamptz,
    listed_at      timestamptz,
    ended_at       timestamptz,
    updated_at     timestamptz,
    PRIMARY KEY (site, kind)
) WITH (fillfactor = 70);

COMMENT ON TABLE pagestream_log.walk IS 'The newest state of each table''s walk, as the topic walks has it.';
COMMENT ON COLUMN pagestream_log.walk.phase IS 'With cursor and after: where the step that is due begins; null when no walk is under way.';
COMMENT ON COLUMN pagestream_log.walk.follow_up IS 'The mode of the walk that waits for this one.';

CREATE TABLE pagestream_log.walk_figures (
    site          text COLLATE "C" NOT NULL,
    kind          text COLLATE "C" NOT NULL,
    walk          bigint NOT NULL,
    created       bigint NOT NULL,
    updated       bigint NOT NULL,
    unchanged     bigint NOT NULL,
    deleted       bigint NOT NULL,
    dead_lettered bigint NOT NULL,
    PRIMARY KEY (site, kind, walk)
) WITH (fillfactor = 70);

COMMENT ON TABLE pagestream_log.walk_figures IS 'What became of each walk''s records of pages; their sum is the number of records applied.';
COMMENT ON COLUMN pagestream_log.walk_figures.walk IS 'The walk''s number; 0: the record named none.';
COMMENT ON COLUMN pagestream_log.walk_figures.unchanged IS 'Already stored as they came, or deletions of what was not there.';

CREATE TABLE pagestream_log.walk_barrier (
    site   text COLLATE "C" NOT NULL,
    kind   text COLLATE "C" NOT NULL,
    number bigint NOT NULL,
    walk   bigint NOT NULL,
    at     timestamptz NOT NULL,
    PRIMARY KEY (site, kind)
);

COMMENT ON TABLE pagestream_log.walk_barrier IS 'The newest barrier of each table that the sink has passed: all before it is stored.';

CREATE TABLE pagestream_log.dead_letter (
    number           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    site             text COLLATE "C",
    kind             text COLLATE "C",
    identity         text COLLATE "C" NOT NULL,
    page_id          text COLLATE "C",
    found_by         text NOT NULL CHECK (found_by IN ('walker', 'sink')),
    reason           text NOT NULL,
    message          text NOT NULL,
    sqlstate         text,
    walk             bigint,
    step             bigint,
    topic            text COLLATE "C" NOT NULL,
    partition        integer NOT NULL,
    record_offset    bigint NOT NULL,
    headers          json NOT NULL,
    original         bytea NOT NULL,
    original_length  bigint NOT NULL,
    original_digest  text NOT NULL,
    first_seen       timestamptz NOT NULL,
    last_seen        timestamptz NOT NULL,
    first_stored     timestamptz NOT NULL DEFAULT now(),
    times_seen       bigint NOT NULL DEFAULT 1,
    UNIQUE NULLS NOT DISTINCT (site, kind, identity)
);

CREATE INDEX dead_letter_first_stored ON pagestream_log.dead_letter (first_stored);

COMMENT ON TABLE pagestream_log.dead_letter IS 'Records that cannot be stored, each once however often it is walked over.';
COMMENT ON COLUMN pagestream_log.dead_letter.identity IS 'The page''s id, or the digest of the content where there is no usable id.';
COMMENT ON COLUMN pagestream_log.dead_letter.record_offset IS 'With topic and partition: the newest record that brought it.';
COMMENT ON COLUMN pagestream_log.dead_letter.original IS 'The first megabyte of the bytes as they came; length (bytes) and digest (SHA-256, hex) are of all.';

CREATE TABLE pagestream_log.sink_gap (
    number      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    generation  text COLLATE "C" NOT NULL,
    topic       text COLLATE "C" NOT NULL,
    partition   integer NOT NULL,
    from_offset bigint,
    to_offset   bigint NOT NULL,
    reason      text NOT NULL,
    walked      text[] NOT NULL,
    skipped_by  text NOT NULL,
    skipped_at  timestamptz NOT NULL DEFAULT now()
);

COMMENT ON TABLE pagestream_log.sink_gap IS 'The stretches of the topics that an operator let the sink leave out.';
COMMENT ON COLUMN pagestream_log.sink_gap.from_offset IS 'Where the sink stood; null: nothing had been applied.';
COMMENT ON COLUMN pagestream_log.sink_gap.to_offset IS 'Where it goes on: before from_offset where the log had become shorter.';
COMMENT ON COLUMN pagestream_log.sink_gap.walked IS 'The tables, site/kind, for which a full walk was asked because of it.';
