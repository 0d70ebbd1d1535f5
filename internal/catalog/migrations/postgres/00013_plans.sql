-- Policies begin as drafts, choose their resources by more than their kind, and start them by
-- more kinds of schedule. Which resources a policy has taken in is written down, since "all
-- that are there" is said once. Of each series it is known when it was saved last.

-- +goose Up
ALTER TABLE policies ADD COLUMN state text NOT NULL DEFAULT 'active'; -- draft, active, paused, deleted
ALTER TABLE policies ADD COLUMN schedule text NOT NULL DEFAULT 'window';
ALTER TABLE policies ADD COLUMN hours bigint NOT NULL DEFAULT 0; -- between starts, of schedule 'every'
ALTER TABLE policies ADD COLUMN blackouts text NOT NULL DEFAULT ''; -- JSON
ALTER TABLE policies ADD COLUMN objective bigint NOT NULL DEFAULT 129600000000; -- microseconds up to which a backup is fresh
ALTER TABLE policies ADD COLUMN enrol text NOT NULL DEFAULT 'automatic'; -- automatic, daily, present
ALTER TABLE policies ADD COLUMN enrol_at bigint NOT NULL DEFAULT 0; -- minute of the local day, of enrol 'daily'
ALTER TABLE policies ADD COLUMN next_enrol_at bigint NOT NULL DEFAULT 0; -- 0 = never
ALTER TABLE policies ADD COLUMN activated_at bigint NOT NULL DEFAULT 0;
CREATE INDEX policies_enrol ON policies (next_enrol_at) WHERE next_enrol_at > 0;
UPDATE policies SET activated_at = created_at;

-- What a policy names besides kinds: resources ('chosen', 'excluded') and groups whose members
-- it means ('group', 'excluded_group', by Entra object ID).
CREATE TABLE policy_targets (
    tenant  text COLLATE "C" NOT NULL,
    policy  text COLLATE "C" NOT NULL,
    role    text NOT NULL,
    subject text COLLATE "C" NOT NULL,
    PRIMARY KEY (tenant, policy, role, subject),
    FOREIGN KEY (tenant, policy) REFERENCES policies (tenant, id) ON DELETE CASCADE
);
CREATE INDEX policy_targets_subject ON policy_targets (tenant, subject);

-- The members of groups that policies name, as the last sync listed them.
CREATE TABLE member_lists (
    tenant  text COLLATE "C" NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    grp     text COLLATE "C" NOT NULL,
    at      bigint NOT NULL, -- 0 = never listed
    problem text NOT NULL,
    PRIMARY KEY (tenant, grp)
);
CREATE TABLE group_members (
    tenant   text COLLATE "C" NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    grp      text COLLATE "C" NOT NULL,
    resource text COLLATE "C" NOT NULL,
    PRIMARY KEY (tenant, grp, resource)
);
CREATE INDEX group_members_resource ON group_members (tenant, resource);

-- A resource that a policy has taken in. It stays so while the policy does not cover it.
CREATE TABLE policy_members (
    tenant   text COLLATE "C" NOT NULL,
    policy   text COLLATE "C" NOT NULL,
    resource text COLLATE "C" NOT NULL,
    at       bigint NOT NULL,
    cause    text NOT NULL, -- activation, person, sync, hour, change
    PRIMARY KEY (tenant, policy, resource),
    FOREIGN KEY (tenant, policy) REFERENCES policies (tenant, id) ON DELETE CASCADE
);
CREATE INDEX policy_members_resource ON policy_members (tenant, resource);
INSERT INTO policy_members (tenant, policy, resource, at, cause)
    SELECT DISTINCT p.tenant, p.policy, p.resource, l.created_at, 'activation'
    FROM protections p JOIN policies l ON l.tenant = p.tenant AND l.id = p.policy;
-- Each series is protected by one policy from now on: of two the older one.
DELETE FROM protections WHERE EXISTS (
    SELECT 1 FROM protections o
    JOIN policies a ON a.tenant = o.tenant AND a.id = o.policy
    JOIN policies b ON b.tenant = protections.tenant AND b.id = protections.policy
    WHERE o.tenant = protections.tenant AND o.resource = protections.resource AND o.workload = protections.workload
        AND (a.created_at < b.created_at OR (a.created_at = b.created_at AND a.id < b.id)));

ALTER TABLE resources ADD COLUMN standing text NOT NULL DEFAULT ''; -- why it is protected or not
UPDATE resources SET standing = CASE WHEN EXISTS (
        SELECT 1 FROM protections p WHERE p.tenant = resources.tenant AND p.resource = resources.id) THEN 'covered'
    WHEN workloads = '' THEN 'nothing' ELSE 'no_policy' END
    WHERE state = 'active';
ALTER TABLE series ADD COLUMN saved_at bigint NOT NULL DEFAULT 0; -- of the newest snapshot, 0 = there is none
CREATE INDEX resources_quota ON resources (tenant) WHERE standing = 'quota';
UPDATE series SET saved_at = coalesce((SELECT max(taken_at) FROM snapshots s
    WHERE s.tenant = series.tenant AND s.resource = series.resource AND s.workload = series.workload), 0);
ALTER TABLE tenants ADD COLUMN time_zone text NOT NULL DEFAULT 'UTC'; -- of its region: nights are off-peak
ALTER TABLE tenants ADD COLUMN open_schedules bigint NOT NULL DEFAULT 0; -- 1 = its own roles may choose schedules

-- +goose Down
ALTER TABLE tenants DROP COLUMN open_schedules;
ALTER TABLE tenants DROP COLUMN time_zone;
ALTER TABLE series DROP COLUMN saved_at;
DROP INDEX resources_quota;
ALTER TABLE resources DROP COLUMN standing;
DROP TABLE policy_members;
DROP TABLE group_members;
DROP TABLE member_lists;
DROP TABLE policy_targets;
DROP INDEX policies_enrol;
ALTER TABLE policies DROP COLUMN activated_at;
ALTER TABLE policies DROP COLUMN next_enrol_at;
ALTER TABLE policies DROP COLUMN enrol_at;
ALTER TABLE policies DROP COLUMN enrol;
ALTER TABLE policies DROP COLUMN objective;
ALTER TABLE policies DROP COLUMN blackouts;
ALTER TABLE policies DROP COLUMN hours;
ALTER TABLE policies DROP COLUMN schedule;
ALTER TABLE policies DROP COLUMN state;
