-- Signs of life, one row a process or claim, overwritten in place.
CREATE TABLE pulse (
    who     TEXT PRIMARY KEY,
    counter INTEGER NOT NULL,
    state   TEXT NOT NULL
) STRICT;
