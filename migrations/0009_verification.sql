-- A rebuild that was not finished: what was verified since it began is not read again by the next one.
CREATE TABLE rebuild (
    id    INTEGER PRIMARY KEY CHECK (id = 1),
    began INTEGER NOT NULL,                 -- nanoseconds since 1970
    anew  INTEGER NOT NULL                  -- 1: the manifest knew nothing when it began
) STRICT;

-- Damage that was found and is not settled: what each side held under metadata that had not changed. The
-- figures are those of the entry's row when it was found; where these move, it is settled one way or the other.
CREATE TABLE damage (
    path          BLOB    NOT NULL PRIMARY KEY,
    side          TEXT    NOT NULL,         -- source, replica, both, unknown
    detail        TEXT    NOT NULL,         -- in words, for people
    found         INTEGER NOT NULL,         -- nanoseconds since 1970
    ctime         INTEGER NOT NULL,         -- of the source, as in entries
    inode         INTEGER NOT NULL,
    replica_ctime INTEGER NOT NULL,
    replica_inode INTEGER NOT NULL,
    md5           BLOB
) STRICT, WITHOUT ROWID;

-- How much was verified when, as of the last run: by the day since 1970; day 0 is what was adopted by its metadata
-- and never read.
CREATE TABLE coverage (
    day   INTEGER PRIMARY KEY,
    files INTEGER NOT NULL,
    bytes INTEGER NOT NULL
) STRICT;
