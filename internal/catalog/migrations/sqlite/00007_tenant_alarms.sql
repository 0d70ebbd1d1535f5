-- What is wrong with one tenant until somebody sees to it: a key that does not open, damage, a mass
-- change. And when what a tenant has stored is read again next.

-- +goose Up
CREATE TABLE tenant_alarms (
    tenant  text NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    cause   text NOT NULL,
    subject text NOT NULL, -- resource/workload, or '' for the whole tenant
    detail  text NOT NULL,
    since   bigint NOT NULL,
    seen    bigint NOT NULL,
    PRIMARY KEY (tenant, cause, subject)
);
INSERT INTO tenant_alarms (tenant, cause, subject, detail, since, seen)
    SELECT tenant, 'mass_change', resource || '/' || workload, suspended, 0, 0 FROM series WHERE suspended <> '';
ALTER TABLE tenants ADD COLUMN next_patrol_at bigint NOT NULL DEFAULT 0; -- 0 = nothing was pruned yet
ALTER TABLE tenants ADD COLUMN patrol_task text NOT NULL DEFAULT '';
CREATE INDEX tenants_patrol ON tenants (next_patrol_at) WHERE next_patrol_at > 0 AND patrol_task = '';

-- +goose Down
DROP INDEX tenants_patrol;
ALTER TABLE tenants DROP COLUMN patrol_task;
ALTER TABLE tenants DROP COLUMN next_patrol_at;
DROP TABLE tenant_alarms;
