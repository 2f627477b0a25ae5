-- What the gates between plan and execution must remember.

-- On what each root lay when it was last seen or accepted. Device numbers change over reboots, these do not.
CREATE TABLE root_mounts (
    side       INTEGER NOT NULL PRIMARY KEY, -- 0 source, 1 replica
    point      BLOB    NOT NULL,             -- mount point, raw bytes
    filesystem TEXT    NOT NULL,             -- its type
    probed     INTEGER NOT NULL              -- 1: a probe file has shown that the roots are no aliases
) STRICT;

-- A held plan bears the number of the run that held it first, and keeps it while the same deletes are held.
-- Before there were no figures of what is held, so nothing of it could be checked: the next run holds anew.
DROP TABLE held_deletes;
DELETE FROM held;

ALTER TABLE held ADD COLUMN approved INTEGER; -- nanoseconds since 1970; NULL: not approved

CREATE TABLE held_deletes (
    run      INTEGER NOT NULL,
    path     BLOB    NOT NULL,
    kind     INTEGER NOT NULL,              -- as in entries; this and what follows: what the replica had there
    mode     INTEGER NOT NULL,
    size     INTEGER NOT NULL,
    mtime    INTEGER NOT NULL,              -- seconds since 1970
    mtime_ns INTEGER NOT NULL,
    ctime    INTEGER NOT NULL,              -- nanoseconds since 1970
    inode    INTEGER NOT NULL,
    PRIMARY KEY (run, path)
) STRICT, WITHOUT ROWID;
