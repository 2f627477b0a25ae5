-- Hard links made by each run, and which properties the rows say are in step.

ALTER TABLE runs ADD COLUMN linked INTEGER NOT NULL DEFAULT 0;

-- The [preserve] switches that the rows were made under, as text; NULL: none was noted yet. Under others
-- the rows prove nothing, and every entry is looked at once more.
ALTER TABLE job ADD COLUMN preserve TEXT;
