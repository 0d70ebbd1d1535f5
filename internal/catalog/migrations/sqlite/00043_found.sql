-- What a backup has found so far, done or not: in a task, as progress, and summed in its run.

-- +goose Up
ALTER TABLE tasks ADD COLUMN found bigint NOT NULL DEFAULT 0; -- items
ALTER TABLE tasks ADD COLUMN found_bytes bigint NOT NULL DEFAULT 0;
ALTER TABLE ended_tasks ADD COLUMN found bigint NOT NULL DEFAULT 0;
ALTER TABLE ended_tasks ADD COLUMN found_bytes bigint NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN found bigint NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN found_bytes bigint NOT NULL DEFAULT 0;
-- What was done was found. Runs and tasks that have ended do not say what they found.
UPDATE tasks SET found = items, found_bytes = bytes WHERE action = 'backup' AND items > 0;
UPDATE runs SET found = items, found_bytes = bytes WHERE action = 'backup' AND state = 'running';

-- +goose Down
ALTER TABLE runs DROP COLUMN found_bytes;
ALTER TABLE runs DROP COLUMN found;
ALTER TABLE ended_tasks DROP COLUMN found_bytes;
ALTER TABLE ended_tasks DROP COLUMN found;
ALTER TABLE tasks DROP COLUMN found_bytes;
ALTER TABLE tasks DROP COLUMN found;
