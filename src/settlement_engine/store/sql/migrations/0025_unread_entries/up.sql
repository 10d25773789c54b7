-- compatible-from: 24
-- What the search of statements for our payments could not read: an entry (with one of its details), or with entry 0 the
-- rest of its statement. It is tried again now and then, by whichever version runs then, and a row leaves when it was read:
-- this is no history.
CREATE TABLE unread_entries (
    statement_id bigint NOT NULL REFERENCES statements (id),
    entry_number integer NOT NULL CHECK (entry_number >= 0),
    detail_number integer NOT NULL CHECK (detail_number >= 0),
    why text NOT NULL CHECK (length(why) BETWEEN 1 AND 1000),
    since timestamptz NOT NULL DEFAULT clock_timestamp(),
    tried_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (statement_id, entry_number, detail_number)
);
CREATE INDEX unread_entries_by_trial ON unread_entries (tried_at);
