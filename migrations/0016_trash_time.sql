-- How long what is in the trash has been there, by time that passed and not by the clock: see src/plan/elapsed.rs.
ALTER TABLE trash ADD COLUMN since INTEGER; -- seconds counted below when a run first met the folder; NULL: not known

-- One row, in seconds.
CREATE TABLE trash_time (
    id     INTEGER PRIMARY KEY CHECK (id = 1),
    passed INTEGER NOT NULL,                -- counted until the machine was started last
    latest INTEGER NOT NULL,                -- the clock's latest reading before that, since 1970
    first  INTEGER NOT NULL,                -- uptime at the first reading since then
    boot   TEXT    NOT NULL,                -- the last reading: the start's number (boot_id)
    uptime INTEGER NOT NULL,                -- and the time since then
    wall   INTEGER NOT NULL                 -- and the clock, since 1970
) STRICT;
