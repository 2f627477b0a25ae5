-- What all runs did together, also those that are remembered no more: counters that only grow, for monitoring.
CREATE TABLE totals (
    id       INTEGER PRIMARY KEY CHECK (id = 1),
    runs     INTEGER NOT NULL,              -- that came to an end
    created  INTEGER NOT NULL,
    copied   INTEGER NOT NULL,
    moved    INTEGER NOT NULL,
    linked   INTEGER NOT NULL,
    mended   INTEGER NOT NULL,
    deleted  INTEGER NOT NULL,
    bytes    INTEGER NOT NULL               -- copied
) STRICT;

INSERT INTO totals
SELECT 1, count(ended), coalesce(sum(created), 0), coalesce(sum(copied), 0), coalesce(sum(moved), 0),
       coalesce(sum(linked), 0), coalesce(sum(mended), 0), coalesce(sum(deleted), 0), coalesce(sum(bytes), 0)
FROM runs;

CREATE TRIGGER run_ended AFTER UPDATE OF ended ON runs WHEN old.ended IS NULL AND new.ended IS NOT NULL
BEGIN
    UPDATE totals SET runs = runs + 1, created = created + new.created, copied = copied + new.copied,
        moved = moved + new.moved, linked = linked + new.linked, mended = mended + new.mended,
        deleted = deleted + new.deleted, bytes = bytes + new.bytes;
END;

CREATE TRIGGER run_noted AFTER INSERT ON runs WHEN new.ended IS NOT NULL
BEGIN
    UPDATE totals SET runs = runs + 1;
END;
