-- Entries that the last run did not meet in the source while folders of it changed: their replica was left, and is
-- deleted if the next run does not meet them either.
CREATE TABLE awaited (
    path BLOB NOT NULL PRIMARY KEY          -- as in entries
) STRICT, WITHOUT ROWID;
