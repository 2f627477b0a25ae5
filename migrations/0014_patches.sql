-- Files of the replica that are being made another version in place: what of them is to be written lies in a journal beside
-- them. As long as a row is here it is written again, from the start, before a run does anything else.
CREATE TABLE patches (
    path        BLOB    NOT NULL PRIMARY KEY,
    temporary   BLOB    NOT NULL,              -- the journal's name in the same folder
    journal     INTEGER NOT NULL,              -- its bytes
    journal_md5 BLOB    NOT NULL,
    inode       INTEGER NOT NULL,              -- of the file
    size        INTEGER NOT NULL               -- that the file is to have
) STRICT, WITHOUT ROWID;
