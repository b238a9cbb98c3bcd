-- Labels as they arrived: facts, of which none is changed. The latest that is not late counts; `label` is JSON.
CREATE TABLE labels (
    arrival    INTEGER PRIMARY KEY AUTOINCREMENT,
    model      TEXT NOT NULL,
    ms         INTEGER NOT NULL,
    process    TEXT NOT NULL,
    number     INTEGER NOT NULL,
    row        INTEGER NOT NULL,
    source     TEXT NOT NULL,
    label      TEXT NOT NULL,
    arrived_ms INTEGER NOT NULL,
    late       INTEGER NOT NULL
) STRICT;

CREATE INDEX labels_by_place ON labels (model, ms, process, number, row);

-- Predictions of a model up to `closed_ms` are judged by the labels that had come; it only rises.
CREATE TABLE closings (
    model     TEXT PRIMARY KEY,
    closed_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Stretches of closed predictions, without their first millisecond, whose labels nothing is judged by, and why.
CREATE TABLE doubts (
    model    TEXT NOT NULL,
    since_ms INTEGER NOT NULL,
    until_ms INTEGER NOT NULL,
    reason   TEXT NOT NULL,
    PRIMARY KEY (model, since_ms)
) STRICT, WITHOUT ROWID;

-- Which row of which prediction a request named by the key of its model; JSON.
CREATE TABLE keys (
    model   TEXT NOT NULL,
    key     TEXT NOT NULL,
    ms      INTEGER NOT NULL,
    process TEXT NOT NULL,
    number  INTEGER NOT NULL,
    row     INTEGER NOT NULL,
    PRIMARY KEY (model, key, ms, process, number, row)
) STRICT, WITHOUT ROWID;

CREATE INDEX keys_by_place ON keys (model, ms, process, number, row);

-- For the records of one model in the order of their answers.
CREATE INDEX chunks_by_model ON chunks (model, until_ms, requests);
