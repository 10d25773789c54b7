-- A table that is written to find out whether a write works: on a full disk updates may find room in pages
-- that are there, while nothing new can be written.
CREATE TABLE write_probe (
    at timestamptz NOT NULL
);

-- An emptied table begins a new file, so that its first row needs new room on the disk. Whoever may run the
-- engine may run this, whoever owns the tables.
CREATE FUNCTION probe_write() RETURNS timestamptz
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    now_at timestamptz := clock_timestamp();
BEGIN
    TRUNCATE write_probe;
    INSERT INTO write_probe (at) VALUES (now_at);
    RETURN now_at;
END;
$$;
