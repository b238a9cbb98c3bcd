-- Answered predictions, oldest first by `number`. Trimmed by age and size.
CREATE TABLE predictions (
    number     INTEGER PRIMARY KEY AUTOINCREMENT,
    id         TEXT NOT NULL UNIQUE,
    time       TEXT NOT NULL,
    model      TEXT NOT NULL,
    version    TEXT NOT NULL,
    row_values BLOB NOT NULL,
    answer     BLOB NOT NULL,
    latency_ms REAL NOT NULL,
    role       TEXT NOT NULL
) STRICT;
