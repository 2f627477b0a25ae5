-- What the trash holds, by the runs that put it there (named after the folders they made in it).
CREATE TABLE trash (
    name     TEXT PRIMARY KEY,              -- the time the run began, as 20261126T190504Z
    entries  INTEGER NOT NULL,              -- folders not counted
    bytes    INTEGER NOT NULL               -- of its files
) STRICT;

-- What runs did to the replica, entry by entry. Bounded: see src/manifest/journal.rs.
CREATE TABLE journal (
    id       INTEGER PRIMARY KEY,           -- grows
    run      INTEGER NOT NULL,              -- of the table runs, where it is still remembered
    at       INTEGER NOT NULL,              -- when it was recorded, nanoseconds since 1970
    verb     TEXT NOT NULL,                 -- create, copy, move, link, metadata, delete
    path     BLOB NOT NULL,
    origin   BLOB,                          -- the former path of what was moved, the first name of what was linked
    bytes    INTEGER NOT NULL,              -- copied
    digest   BLOB                           -- MD5, where it is known
) STRICT;
