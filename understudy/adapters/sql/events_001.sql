-- The log of facts. `position` has no gaps and follows commit order; `hash` chains each row to the one before.
CREATE TABLE events (
    position INTEGER PRIMARY KEY,
    time     TEXT NOT NULL,
    kind     TEXT NOT NULL,
    schema   INTEGER NOT NULL,
    data     TEXT NOT NULL,
    hash     TEXT NOT NULL
) STRICT;

-- What was written stays as it was written: no statement of ours, now or later, may change a row.
CREATE TRIGGER events_are_never_changed BEFORE UPDATE ON events
BEGIN
    SELECT RAISE(ABORT, 'events are append-only');
END;

CREATE TRIGGER events_are_never_removed BEFORE DELETE ON events
BEGIN
    SELECT RAISE(ABORT, 'events are append-only');
END;
