-- What is told once, whichever generation of the copy is shown.

CREATE TABLE pagestream_log.walk (
    site              text COLLATE "C" NOT NULL,
    kind              text COLLATE "C" NOT NULL,
    revision          bigint NOT NULL,
    status            text NOT NULL,
    walk              bigint NOT NULL,
    mode              text NOT NULL,
    window_from       text,
    window_to         text,
    rows              integer NOT NULL,
    size              integer NOT NULL,
    steps             bigint NOT NULL,
    phase             text,
    cursor            text,
    after             text,
    listed_by         text,
    repairs           integer NOT NULL,
    attempt           integer NOT NULL,
    refusals          integer NOT NULL,
    retry_at          timestamptz,
    pages             bigint NOT NULL,
    rejected          bigint NOT NULL,
    listed            bigint NOT NULL,
    retries           bigint NOT NULL,
    expected          bigint,
    stored            bigint,
    barrier           bigint NOT NULL,
    listed_at         timestamptz,
    verdict_due_at    timestamptz,
    verdict           text,
    verified_at       timestamptz,
    follow_up         text,
    follow_up_rows    integer,
    next_walk_at      timestamptz,
    next_walk_mode    text,
    own_schedule      boolean NOT NULL,
    full_every        double precision,
    incremental_every double precision,
    verify_every      double precision,
    added_at          timestamptz,
    full_at           timestamptz,
    incremental_at    timestamptz,
    verify_at         timestamptz,
    full_verified     boolean NOT NULL,
    full_forced       boolean NOT NULL,
    secret_name       text,
    error             text,
    last_error        text,
    started_at        timestamptz,
    ended_at          timestamptz,
    updated_at        timestamptz,
    PRIMARY KEY (site, kind)
) WITH (fillfactor = 70);

COMMENT ON TABLE pagestream_log.walk IS 'The newest state of each table''s walk, as the topic walks has it.';
COMMENT ON COLUMN pagestream_log.walk.revision IS 'Rises by one with every change of the state.';
COMMENT ON COLUMN pagestream_log.walk.walk IS 'The number of the newest walk, from 1; 0: none yet.';
COMMENT ON COLUMN pagestream_log.walk.window_from IS 'With window_to: the dates of an incremental walk, both inclusive, as the site writes dates.';
COMMENT ON COLUMN pagestream_log.walk.rows IS 'The number of rows asked for in one response.';
COMMENT ON COLUMN pagestream_log.walk.size IS 'The number asked for now: less after a response that took the site too long.';
COMMENT ON COLUMN pagestream_log.walk.steps IS 'The number of responses taken, of both phases.';
COMMENT ON COLUMN pagestream_log.walk.phase IS 'With cursor, after and listed_by: where the step that is due begins; null when none is due.';
COMMENT ON COLUMN pagestream_log.walk.repairs IS 'The number of repairs that wait for the site.';
COMMENT ON COLUMN pagestream_log.walk.attempt IS 'How often what is due has failed.';
COMMENT ON COLUMN pagestream_log.walk.refusals IS 'How often in a row the site said "too many requests": that is no failure.';
COMMENT ON COLUMN pagestream_log.walk.retry_at IS 'When what is due is tried again; null: nothing failed.';
COMMENT ON COLUMN pagestream_log.walk.pages IS 'Pages that the walk and its repairs fetched.';
COMMENT ON COLUMN pagestream_log.walk.rejected IS 'Rows that were fetched and cannot be stored: dead letters.';
COMMENT ON COLUMN pagestream_log.walk.listed IS 'Ids that the site listed at the end of the walk.';
COMMENT ON COLUMN pagestream_log.walk.retries IS 'How often a request of this walk was made again.';
COMMENT ON COLUMN pagestream_log.walk.expected IS 'Pages that should be stored, by the newest verdict.';
COMMENT ON COLUMN pagestream_log.walk.stored IS 'Pages that were stored, by the newest verdict.';
COMMENT ON COLUMN pagestream_log.walk.barrier IS 'The number of the newest barrier; walk_barrier says which one the sink has passed.';
COMMENT ON COLUMN pagestream_log.walk.listed_at IS 'The time for which the copy can be called complete.';
COMMENT ON COLUMN pagestream_log.walk.verdict_due_at IS 'When waiting for a verdict ends.';
COMMENT ON COLUMN pagestream_log.walk.verified_at IS 'The time for which the table was last verified.';
COMMENT ON COLUMN pagestream_log.walk.follow_up IS 'The mode of the walk that waits for this one.';
COMMENT ON COLUMN pagestream_log.walk.next_walk_at IS 'When the schedule begins the next walk.';
COMMENT ON COLUMN pagestream_log.walk.own_schedule IS 'Whether the three that follow are the table''s own; if not, they are null and the settings'' hold.';
COMMENT ON COLUMN pagestream_log.walk.full_every IS 'Seconds between two full walks; null: never.';
COMMENT ON COLUMN pagestream_log.walk.incremental_every IS 'Seconds between two incremental walks; null: never.';
COMMENT ON COLUMN pagestream_log.walk.verify_every IS 'Seconds between two verify walks; null: never.';
COMMENT ON COLUMN pagestream_log.walk.full_at IS 'When the newest full walk began.';
COMMENT ON COLUMN pagestream_log.walk.incremental_at IS 'When the newest incremental walk began.';
COMMENT ON COLUMN pagestream_log.walk.verify_at IS 'When the newest verify walk began.';
COMMENT ON COLUMN pagestream_log.walk.full_verified IS 'Whether a full walk was ever verified: from then on walks are incremental.';
COMMENT ON COLUMN pagestream_log.walk.full_forced IS 'Whether a full walk was demanded that is not completed yet.';
COMMENT ON COLUMN pagestream_log.walk.secret_name IS 'The name of the site''s own service secret.';
COMMENT ON COLUMN pagestream_log.walk.error IS 'What is wrong now.';
COMMENT ON COLUMN pagestream_log.walk.last_error IS 'What was wrong last, also when it has passed.';

CREATE TABLE pagestream_log.walk_job (
    site        text COLLATE "C" NOT NULL,
    kind        text COLLATE "C" NOT NULL,
    walk        bigint NOT NULL,
    revision    bigint NOT NULL,
    status      text NOT NULL,
    mode        text NOT NULL,
    window_from text,
    window_to   text,
    steps       bigint NOT NULL,
    pages       bigint NOT NULL,
    rejected    bigint NOT NULL,
    listed      bigint NOT NULL,
    retries     bigint NOT NULL,
    expected    bigint,
    stored      bigint,
    verdict     text,
    verified_at timestamptz,
    last_error  text,
    started_at  timestamptz,
    listed_at   timestamptz,
    ended_at    timestamptz,
    PRIMARY KEY (site, kind, walk)
) WITH (fillfactor = 70);

COMMENT ON TABLE pagestream_log.walk_job IS 'The newest state of every walk, kept when the next one has begun.';
COMMENT ON COLUMN pagestream_log.walk_job.revision IS 'That of the table''s state from which the row was taken.';

CREATE TABLE pagestream_log.walk_figures (
    site          text COLLATE "C" NOT NULL,
    kind          text COLLATE "C" NOT NULL,
    walk          bigint NOT NULL,
    created       bigint NOT NULL,
    updated       bigint NOT NULL,
    unchanged     bigint NOT NULL,
    deleted       bigint NOT NULL,
    dead_lettered bigint NOT NULL,
    removed       bigint NOT NULL,
    PRIMARY KEY (site, kind, walk)
) WITH (fillfactor = 70);

COMMENT ON TABLE pagestream_log.walk_figures IS 'What became of each walk''s records of pages; the sum, without removed, is the number of records applied.';
COMMENT ON COLUMN pagestream_log.walk_figures.walk IS 'The walk''s number; 0: the record named none.';
COMMENT ON COLUMN pagestream_log.walk_figures.unchanged IS 'Already stored as they came, or deletions of what was not there.';
COMMENT ON COLUMN pagestream_log.walk_figures.removed IS 'Pages that went because the site was removed: one record, however many pages.';

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
