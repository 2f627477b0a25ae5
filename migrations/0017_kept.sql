-- Entries of the replica that the source does not have and that stayed, with deletes = "never".
ALTER TABLE runs ADD COLUMN kept INTEGER NOT NULL DEFAULT 0;
