-- What single entries of the replica are without, though its file system holds such things. Said by every run until the
-- entry is brought into step again, with success, or another run finds it right.
CREATE TABLE losses (
    path  BLOB    NOT NULL,                 -- as in entries
    lost  TEXT    NOT NULL,                 -- permissions, owner, times, attributes, acls
    cause TEXT    NOT NULL,                 -- in the system's words
    since INTEGER NOT NULL,                 -- when it was first met, nanoseconds since 1970
    PRIMARY KEY (path, lost)
) STRICT, WITHOUT ROWID;
