-- A role to give to whoever may read: the views, and nothing else. Roles belong to the whole server,
-- so another database may have made it already, or be making it in this moment.

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'pagestream_reader') THEN
        BEGIN
            CREATE ROLE pagestream_reader NOLOGIN;
        EXCEPTION
            WHEN duplicate_object OR unique_violation THEN
                RAISE DEBUG 'role pagestream_reader was made meanwhile';
            WHEN insufficient_privilege THEN
                RAISE NOTICE 'role pagestream_reader was not created: % may not create roles. To give readers the views, create it (CREATE ROLE pagestream_reader NOLOGIN) and grant it USAGE on schema pagestream and SELECT on all tables in it', current_user;
                RETURN;
        END;
    END IF;
    GRANT USAGE ON SCHEMA pagestream TO pagestream_reader;
    GRANT SELECT ON ALL TABLES IN SCHEMA pagestream TO pagestream_reader;
END
$$;
