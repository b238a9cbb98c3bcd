-- What a pair of versions lost on labelled predictions, in their order; the newest pair of each model is kept.
CREATE TABLE scored (
    model   TEXT NOT NULL,
    pair    INTEGER NOT NULL,
    place   INTEGER NOT NULL,
    id      TEXT NOT NULL,
    serving REAL,
    other   REAL,
    PRIMARY KEY (model, pair, place)
) STRICT, WITHOUT ROWID;

-- Up to where labelled predictions have been scored for a pair.
CREATE TABLE scored_until (
    model  TEXT PRIMARY KEY,
    pair   INTEGER NOT NULL,
    cursor TEXT NOT NULL
) STRICT, WITHOUT ROWID;
