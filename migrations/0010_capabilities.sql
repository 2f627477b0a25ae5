-- What the file system under the replica can hold, for each user who has run the job: found out by trying, once for
-- a mount and its options.
CREATE TABLE capabilities (
    uid        INTEGER NOT NULL PRIMARY KEY,
    point      BLOB    NOT NULL,            -- of the mount, raw bytes
    filesystem TEXT    NOT NULL,
    options    BLOB    NOT NULL,
    held       TEXT    NOT NULL             -- JSON, see src/model/capabilities.rs
) STRICT;
