-- What the values of a chunk mean: columns with their kinds, those that are withheld, classes; JSON.
CREATE TABLE layouts (
    number  INTEGER PRIMARY KEY,
    content TEXT NOT NULL UNIQUE
) STRICT;

-- Answered predictions, some hundreds in a row, oldest first by `number`; see understudy/chunks.py. Trimmed by age and
-- size. What `predictions` holds was written by releases that kept a row for each, and is only read and trimmed.
CREATE TABLE chunks (
    number   INTEGER PRIMARY KEY AUTOINCREMENT,
    process  TEXT NOT NULL,
    model    TEXT NOT NULL,
    version  TEXT NOT NULL,
    since_ms INTEGER NOT NULL,
    until_ms INTEGER NOT NULL,
    first    INTEGER NOT NULL,
    last     INTEGER NOT NULL,
    requests INTEGER NOT NULL,
    layout   INTEGER NOT NULL REFERENCES layouts (number),
    content  BLOB NOT NULL
) STRICT;

CREATE INDEX chunks_by_id ON chunks (process, until_ms);

-- How far each process has come that may still write; see understudy.records.Progress.
CREATE TABLE writers (
    process   TEXT PRIMARY KEY,
    accounted INTEGER NOT NULL,
    until_ms  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Answered predictions that are not on record, and why.
CREATE TABLE gaps (
    number   INTEGER PRIMARY KEY AUTOINCREMENT,
    process  TEXT NOT NULL,
    since_ms INTEGER NOT NULL,
    until_ms INTEGER NOT NULL,
    lost     INTEGER,
    reason   TEXT NOT NULL
) STRICT;

CREATE UNIQUE INDEX killed_once ON gaps (process) WHERE reason = 'killed';
