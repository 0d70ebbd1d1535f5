-- A problem says what class of reason it has, since when, in which snapshot the last good version is, and
-- whether the next backup asks for the item again.

-- +goose Up
ALTER TABLE problems ADD COLUMN kind text NOT NULL DEFAULT '';
ALTER TABLE problems ADD COLUMN since bigint NOT NULL DEFAULT 0; -- 0 = unknown
ALTER TABLE problems ADD COLUMN snapshot bigint NOT NULL DEFAULT 0; -- 0 = none, or unknown
ALTER TABLE problems ADD COLUMN again bigint NOT NULL DEFAULT 0; -- 1 = the next backup asks for it

-- +goose Down
ALTER TABLE problems DROP COLUMN again;
ALTER TABLE problems DROP COLUMN snapshot;
ALTER TABLE problems DROP COLUMN since;
ALTER TABLE problems DROP COLUMN kind;
