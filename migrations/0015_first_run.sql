-- 1: no run of this pair has ended well since the manifest was made. What no row knows may be somebody's then:
-- that it would be deleted or overwritten passes a gate of its own.
ALTER TABLE job ADD COLUMN adopting INTEGER NOT NULL DEFAULT 0;

-- Entries that the replica had before anything was brought over; NULL: not counted yet.
ALTER TABLE job ADD COLUMN replica_had INTEGER;

-- 1: what the replica has is not to be deleted but overwritten.
ALTER TABLE held_deletes ADD COLUMN overwrites INTEGER NOT NULL DEFAULT 0;
