-- Runs have a number for people to say, name the run whose failures they try again, and say
-- since when they are being canceled. A task that is to be canceled is marked, so that
-- whatever its worker does it ends canceled.

-- +goose Up
ALTER TABLE runs ADD COLUMN reference bigint NOT NULL DEFAULT 0; -- 0 = none
ALTER TABLE runs ADD COLUMN retry_of text COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE runs ADD COLUMN canceled_at bigint NOT NULL DEFAULT 0;
CREATE INDEX runs_reference ON runs (reference) WHERE reference > 0;
CREATE UNIQUE INDEX runs_retry ON runs (retry_of) WHERE retry_of <> '' AND state = 'running';
ALTER TABLE tasks ADD COLUMN canceled_at bigint NOT NULL DEFAULT 0; -- ended_tasks has no such column
CREATE INDEX tasks_canceled ON tasks (id) WHERE canceled_at > 0; -- not by process: a claim changes no indexed column

-- +goose Down
DROP INDEX tasks_canceled;
ALTER TABLE tasks DROP COLUMN canceled_at;
DROP INDEX runs_retry;
DROP INDEX runs_reference;
ALTER TABLE runs DROP COLUMN canceled_at;
ALTER TABLE runs DROP COLUMN retry_of;
ALTER TABLE runs DROP COLUMN reference;
