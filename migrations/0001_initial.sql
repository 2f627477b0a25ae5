-- The manifest of one job: what was true of source and replica when they were last seen in step.

-- Whose manifest this is. One row; roots as canonical absolute paths, raw bytes.
CREATE TABLE job (
    id      INTEGER PRIMARY KEY CHECK (id = 1),
    source  BLOB    NOT NULL,
    replica BLOB    NOT NULL,
    created INTEGER NOT NULL                -- nanoseconds since 1970
) STRICT;

-- One row an entry. Paths are raw bytes under the root, a folder's path ends in '/', the root's is
-- empty; their byte order is the order of every walk.
CREATE TABLE entries (
    path             BLOB    NOT NULL PRIMARY KEY,
    kind             INTEGER NOT NULL,      -- 0 file, 1 folder, 2 symlink, 3 fifo, 4 socket, 5 block, 6 character device
    size             INTEGER NOT NULL,      -- bytes, the same on both sides
    mode             INTEGER NOT NULL,      -- permission bits of the source
    mtime            INTEGER NOT NULL,      -- seconds since 1970, source
    mtime_ns         INTEGER NOT NULL,      -- nanoseconds within that second
    ctime            INTEGER NOT NULL,      -- nanoseconds since 1970, source
    inode            INTEGER NOT NULL,      -- source
    replica_mode     INTEGER,               -- NULL: as the source's
    replica_mtime    INTEGER,               -- NULL: as the source's
    replica_mtime_ns INTEGER,
    replica_ctime    INTEGER NOT NULL,
    replica_inode    INTEGER NOT NULL,
    md5              BLOB,                  -- 16 bytes; of a file's bytes or a link's target
    hashed           INTEGER,               -- seconds since 1970: when md5 was computed from bytes that were read
    racy             INTEGER NOT NULL       -- 1: the source may have changed again within the same clock tick
) STRICT, WITHOUT ROWID;

-- What each run did.
CREATE TABLE runs (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    kind           TEXT    NOT NULL,        -- sync, rebuild
    started        INTEGER NOT NULL,        -- nanoseconds since 1970
    ended          INTEGER,                 -- NULL: still running, or killed
    result         TEXT,                    -- ok, problems, held, interrupted, failed, damage
    exit_code      INTEGER,
    entries        INTEGER NOT NULL DEFAULT 0,  -- in the source
    entry_bytes    INTEGER NOT NULL DEFAULT 0,
    created        INTEGER NOT NULL DEFAULT 0,
    copied         INTEGER NOT NULL DEFAULT 0,
    mended         INTEGER NOT NULL DEFAULT 0,  -- metadata operations
    deleted        INTEGER NOT NULL DEFAULT 0,
    adopted        INTEGER NOT NULL DEFAULT 0,  -- compared or confirmed without a change to the replica
    bytes          INTEGER NOT NULL DEFAULT 0,  -- copied
    problems       INTEGER NOT NULL DEFAULT 0,
    held           INTEGER NOT NULL DEFAULT 0,
    message        TEXT
) STRICT;

-- What is wrong now; a problem that a run no longer meets is removed by that run.
CREATE TABLE problems (
    path   BLOB    NOT NULL,
    side   INTEGER NOT NULL,                -- 0 source, 1 replica
    action TEXT    NOT NULL,
    cause  TEXT    NOT NULL,
    since  INTEGER NOT NULL,                -- nanoseconds since 1970
    run    INTEGER NOT NULL,                -- the run that met it last
    times  INTEGER NOT NULL,                -- runs that met it
    PRIMARY KEY (path, side, action)
) STRICT, WITHOUT ROWID;

-- Deletes that the last run held back, and why.
CREATE TABLE held (
    run    INTEGER NOT NULL PRIMARY KEY,
    reason TEXT    NOT NULL
) STRICT;

CREATE TABLE held_deletes (
    run  INTEGER NOT NULL,
    path BLOB    NOT NULL,
    PRIMARY KEY (run, path)
) STRICT, WITHOUT ROWID;

-- For people with sqlite3: paths as text, times as dates, digests as hex.
CREATE VIEW readable AS
SELECT CAST(path AS TEXT)                                                       AS path,
       CASE kind WHEN 0 THEN 'file' WHEN 1 THEN 'folder' WHEN 2 THEN 'symlink' WHEN 3 THEN 'fifo'
                 WHEN 4 THEN 'socket' WHEN 5 THEN 'block device' ELSE 'character device' END AS kind,
       size,
       printf('%04o', mode)                                                     AS mode,
       strftime('%Y-%m-%d %H:%M:%S', mtime, 'unixepoch') || printf('.%09d', mtime_ns) AS mtime,
       lower(hex(md5))                                                          AS md5,
       strftime('%Y-%m-%d %H:%M:%S', hashed, 'unixepoch')                       AS hashed,
       inode, replica_inode, racy
FROM entries;
