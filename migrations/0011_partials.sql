-- Copies that were begun and not finished: which temporary of the replica holds what there is, and of what source.
CREATE TABLE partials (
    path         BLOB    NOT NULL PRIMARY KEY,  -- the entry that is copied
    temporary    BLOB    NOT NULL,              -- a name in the same folder of the replica
    inode        INTEGER NOT NULL,              -- what has it: its inode, permissions and owner
    mode         INTEGER NOT NULL,
    uid          INTEGER NOT NULL,
    began        INTEGER NOT NULL,              -- when reading began, nanoseconds since 1970
    size         INTEGER NOT NULL,              -- of the source while it was read, as in entries
    mtime        INTEGER NOT NULL,
    ctime        INTEGER NOT NULL,
    source_inode INTEGER NOT NULL,
    durable      INTEGER,                       -- so many bytes were on the disk for certain
    durable_md5  BLOB,
    written      INTEGER NOT NULL,              -- so many had been written
    written_md5  BLOB    NOT NULL
) STRICT, WITHOUT ROWID;
