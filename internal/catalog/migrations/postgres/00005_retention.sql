-- What is kept for how long: rules of policies, holds, when each series is pruned next, and alarms
-- that suspend it.

-- +goose Up
ALTER TABLE policies ADD COLUMN retention text NOT NULL DEFAULT ''; -- JSON, '' keeps everything
ALTER TABLE series ADD COLUMN next_prune_at bigint NOT NULL DEFAULT 0; -- 0 = nothing was backed up yet
ALTER TABLE series ADD COLUMN prune_task text COLLATE "C" NOT NULL DEFAULT ''; -- its unfinished prune: there is at most one
ALTER TABLE series ADD COLUMN suspended text NOT NULL DEFAULT ''; -- why it is not pruned: a mass change
ALTER TABLE series ADD COLUMN compared bigint NOT NULL DEFAULT 0; -- newest snapshot that was looked at for a mass change
CREATE INDEX series_prune ON series (next_prune_at) WHERE next_prune_at > 0 AND prune_task = '';
CREATE INDEX series_suspended ON series (tenant) WHERE suspended <> '';
ALTER TABLE tenants ADD COLUMN next_collect_at bigint NOT NULL DEFAULT 0; -- 0 = nothing was pruned yet
ALTER TABLE tenants ADD COLUMN collect_task text COLLATE "C" NOT NULL DEFAULT '';
CREATE INDEX tenants_collect ON tenants (next_collect_at) WHERE next_collect_at > 0 AND collect_task = '';

-- A legal hold: nothing of the resource, or with an empty resource of the tenant, is dropped.
CREATE TABLE holds (
    tenant   text COLLATE "C" NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    resource text COLLATE "C" NOT NULL,
    reason   text NOT NULL,
    actor    text NOT NULL,
    at       bigint NOT NULL,
    PRIMARY KEY (tenant, resource)
);

-- +goose Down
DROP TABLE holds;
DROP INDEX tenants_collect;
DROP INDEX series_suspended;
DROP INDEX series_prune;
ALTER TABLE tenants DROP COLUMN collect_task;
ALTER TABLE tenants DROP COLUMN next_collect_at;
ALTER TABLE series DROP COLUMN compared;
ALTER TABLE series DROP COLUMN suspended;
ALTER TABLE series DROP COLUMN prune_task;
ALTER TABLE series DROP COLUMN next_prune_at;
ALTER TABLE policies DROP COLUMN retention;
