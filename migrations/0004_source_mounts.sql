-- Folders of the source that something was mounted on when they were last seen. Where nothing is any
-- more, what the replica has below them is left alone.
CREATE TABLE source_mounts (
    path BLOB NOT NULL PRIMARY KEY          -- as in entries, ending in '/'
) STRICT, WITHOUT ROWID;
