-- Renames made in the replica by each run.
ALTER TABLE runs ADD COLUMN moved INTEGER NOT NULL DEFAULT 0;

-- A folder that got another name is known by its inode. Folders only: a hundredth of the rows, as a rule.
CREATE INDEX folders_by_inode ON entries (inode) WHERE kind = 1;
