-- How a tenant gets on board: which of its workloads are enabled and how far each is, where its data
-- and its work belong, its own credentials, and a registration by device code under way. A tenant that
-- was there keeps what it has: all of its workloads are enabled. So is every workload of a tenant without
-- rows, which a process of the last release has added.

-- +goose Up
CREATE TABLE tenant_workloads (
    tenant   text NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    workload text NOT NULL,
    enabled  boolean NOT NULL,
    trusted  boolean NOT NULL, -- its permissions are not looked for: the customer grants them another way
    state    text NOT NULL,
    reason   text NOT NULL,
    remedy   text NOT NULL,
    state_at bigint NOT NULL,
    PRIMARY KEY (tenant, workload)
);
INSERT INTO tenant_workloads (tenant, workload, enabled, trusted, state, reason, remedy, state_at)
    SELECT t.id, w.workload, true, false, 'ready', '', '', t.added_at
    FROM tenants t CROSS JOIN (SELECT 'mailbox' AS workload UNION ALL SELECT 'drive' UNION ALL SELECT 'site' UNION ALL SELECT 'group' UNION ALL SELECT 'team') AS w;

ALTER TABLE tenants ADD COLUMN cloud text NOT NULL DEFAULT ''; -- '' = the fleet's
ALTER TABLE tenants ADD COLUMN region text NOT NULL DEFAULT ''; -- '' = the fleet's one bucket
ALTER TABLE tenants ADD COLUMN pool text NOT NULL DEFAULT 'main';
ALTER TABLE tenants ADD COLUMN application_name text NOT NULL DEFAULT '';
ALTER TABLE tenants ADD COLUMN sync_every bigint NOT NULL DEFAULT 0; -- microseconds, 0 = every 24 h

-- Credentials for Microsoft; the tenant '' is the provider. What is secret in them is wrapped.
CREATE TABLE credentials (
    tenant      text NOT NULL,
    id          text NOT NULL,
    purpose     text NOT NULL, -- backup, restore
    kind        text NOT NULL, -- secret, certificate, federated
    client_id   text NOT NULL,
    label       text NOT NULL,
    fingerprint text NOT NULL, -- of a certificate
    key_id      text NOT NULL, -- the wrapping key
    wrapped     bytea,
    expires_at  bigint NOT NULL, -- 0 = not known
    added_at    bigint NOT NULL,
    added_by    text NOT NULL,
    refused_at  bigint NOT NULL, -- when Microsoft refused it last, 0 = never since it was accepted
    refusal     text NOT NULL,
    accepted_at bigint NOT NULL,
    PRIMARY KEY (tenant, id)
);
CREATE INDEX credentials_expires ON credentials (expires_at) WHERE expires_at > 0;

-- A registration by device code, at most one of a tenant (package directory draws its states).
CREATE TABLE registrations (
    tenant      text PRIMARY KEY REFERENCES tenants (id) ON DELETE CASCADE,
    state       text NOT NULL,
    name        text NOT NULL, -- of the application, as the customer sees it
    restore     boolean NOT NULL, -- with permissions to write
    started_by  text NOT NULL,
    started_at  bigint NOT NULL,
    state_at    bigint NOT NULL,
    user_code   text NOT NULL,
    verify_at   text NOT NULL, -- the page on which it is entered
    expires_at  bigint NOT NULL, -- of the code, then of the sign-in
    poll_every  bigint NOT NULL, -- microseconds
    directory   text NOT NULL,
    object_id   text NOT NULL, -- of the application
    client_id   text NOT NULL,
    principal   text NOT NULL,
    credential  text NOT NULL, -- of the table credentials
    reason      text NOT NULL,
    remedy      text NOT NULL,
    key_id      text NOT NULL,
    wrapped     bytea -- device code, then the sign-in's token; NULL as soon as it is of no use
);

-- +goose Down
DROP TABLE registrations;
DROP INDEX credentials_expires;
DROP TABLE credentials;
ALTER TABLE tenants DROP COLUMN sync_every;
ALTER TABLE tenants DROP COLUMN application_name;
ALTER TABLE tenants DROP COLUMN pool;
ALTER TABLE tenants DROP COLUMN region;
ALTER TABLE tenants DROP COLUMN cloud;
DROP TABLE tenant_workloads;
