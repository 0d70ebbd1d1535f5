-- How far the first backup of a workload has come since somebody enabled it, and who is told. And what is wrong
-- with what the provider has, before it holds anybody up.

-- +goose Up
CREATE TABLE enablings (
    tenant    text COLLATE "C" NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    workload  text COLLATE "C" NOT NULL,
    stage     text NOT NULL,   -- new, accepted, failed, listed, ended
    settings  text NOT NULL,   -- JSON: who is told; '' = whoever is told about the tenant
    begun_at  bigint NOT NULL,
    told_at   bigint NOT NULL, -- of the last mail about it
    looked_at bigint NOT NULL,
    PRIMARY KEY (tenant, workload)
);
CREATE INDEX enablings_open ON enablings (looked_at) WHERE stage <> 'ended';
-- What is enabled already is told of no more, but for what an unfinished first backup covers.
INSERT INTO enablings (tenant, workload, stage, settings, begun_at, told_at, looked_at)
    SELECT w.tenant, w.workload, CASE WHEN EXISTS (SELECT 1 FROM first_backups b WHERE b.tenant = w.tenant AND b.stage <> 'ended')
        THEN 'listed' ELSE 'ended' END, '', w.state_at, w.state_at, 0
    FROM tenant_workloads w WHERE w.enabled;

CREATE TABLE provider_warnings (
    cause   text COLLATE "C" NOT NULL,
    subject text COLLATE "C" NOT NULL,
    detail  text NOT NULL,
    since   bigint NOT NULL,
    seen    bigint NOT NULL,
    PRIMARY KEY (cause, subject)
);

-- +goose Down
DROP TABLE provider_warnings;
DROP TABLE enablings;
