-- 1: made in the place of a damaged manifest, and no run has ended since that had nothing to hold or to
-- complain of. What no row knows may have come from the source then: its deletes are held.
ALTER TABLE job ADD COLUMN successor INTEGER NOT NULL DEFAULT 0;
