-- The same schema as for Postgres, without partitions: here history expires by ranged DELETE.
-- Every time is microseconds since 1970 UTC, 0 = never.

-- +goose Up
CREATE TABLE tenants (
    id           text PRIMARY KEY,
    name         text NOT NULL,
    directory    text NOT NULL,
    directory_id text NOT NULL,
    state        text NOT NULL,
    reason       text NOT NULL,
    weight       bigint NOT NULL,
    licences     bigint NOT NULL,
    users        bigint NOT NULL,
    added_at     bigint NOT NULL,
    state_at     bigint NOT NULL,
    last_sync_at bigint NOT NULL,
    next_sync_at bigint NOT NULL,
    sync_task    text NOT NULL DEFAULT '', -- its unfinished sync: there is at most one
    virtual      double precision NOT NULL DEFAULT 0   -- the dispatcher's virtual time
);
CREATE UNIQUE INDEX tenants_directory ON tenants (lower(directory)) WHERE directory <> '';
CREATE UNIQUE INDEX tenants_directory_id ON tenants (lower(directory_id)) WHERE directory_id <> '';
CREATE INDEX tenants_next_sync ON tenants (next_sync_at) WHERE state = 'connected';

CREATE TABLE consents (
    state_hash text PRIMARY KEY,
    tenant     text NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    expires_at bigint NOT NULL
);
CREATE INDEX consents_expires ON consents (expires_at);

CREATE TABLE resources (
    tenant       text NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    id           text NOT NULL,
    kind         text NOT NULL,
    object_id    text NOT NULL,
    name         text NOT NULL,
    address      text NOT NULL,
    mailbox_kind text NOT NULL,
    licensed     boolean NOT NULL,
    state        text NOT NULL,
    state_at     bigint NOT NULL,
    workloads    text NOT NULL, -- comma-separated
    PRIMARY KEY (tenant, id)
);

CREATE TABLE sync_links (
    tenant text NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    kind   text NOT NULL,
    link   text NOT NULL,
    at     bigint NOT NULL,
    PRIMARY KEY (tenant, kind)
);

CREATE TABLE policies (
    tenant     text NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    id         text NOT NULL,
    name       text NOT NULL,
    kinds      text NOT NULL, -- comma-separated
    workloads  text NOT NULL, -- comma-separated
    at_minute  bigint NOT NULL,
    window_len bigint NOT NULL,
    time_zone  text NOT NULL,
    created_at bigint NOT NULL,
    PRIMARY KEY (tenant, id)
);

-- A protection is one workload of one resource enrolled in one policy.
CREATE TABLE protections (
    tenant      text NOT NULL,
    policy      text NOT NULL,
    resource    text NOT NULL,
    workload    text NOT NULL,
    next_due_at bigint NOT NULL,
    PRIMARY KEY (tenant, policy, resource, workload),
    FOREIGN KEY (tenant, policy) REFERENCES policies (tenant, id) ON DELETE CASCADE
);
CREATE INDEX protections_due ON protections (next_due_at);
CREATE INDEX protections_resource ON protections (tenant, resource);

CREATE TABLE runs (
    id         text PRIMARY KEY,
    tenant     text NOT NULL,
    policy     text NOT NULL,
    action     text NOT NULL,
    started_by text NOT NULL,
    day        bigint NOT NULL, -- UTC day of a policy's run, 0 = not a scheduled one
    state      text NOT NULL,
    tasks      bigint NOT NULL,
    done       bigint NOT NULL,
    failed     bigint NOT NULL,
    canceled   bigint NOT NULL,
    items      bigint NOT NULL,
    total      bigint NOT NULL,
    skipped    bigint NOT NULL,
    bytes      bigint NOT NULL,
    stored     bigint NOT NULL,
    created_at bigint NOT NULL,
    ended_at   bigint NOT NULL
);
CREATE INDEX runs_tenant ON runs (tenant, id);
CREATE UNIQUE INDEX runs_day ON runs (tenant, policy, day) WHERE day > 0;

-- Unfinished tasks only: small and hot. Rows leave for ended_tasks when they end, so that the
-- leader's queries never look at history.
CREATE TABLE tasks (
    id          text PRIMARY KEY,
    run         text NOT NULL,
    tenant      text NOT NULL,
    resource    text NOT NULL,
    workload    text NOT NULL,
    action      text NOT NULL,
    queue       text NOT NULL,
    state       text NOT NULL,
    admission   bigint NOT NULL,
    attempt     bigint NOT NULL,
    not_before  bigint NOT NULL, -- admissible from; never before created_at
    reason      text NOT NULL,
    kind        text NOT NULL,
    params      bytea,
    items       bigint NOT NULL,
    total       bigint NOT NULL,
    skipped     bigint NOT NULL,
    bytes       bigint NOT NULL,
    stored      bigint NOT NULL,
    snapshot    bigint NOT NULL,
    process     text NOT NULL,
    created_at  bigint NOT NULL,
    admitted_at bigint NOT NULL,
    started_at  bigint NOT NULL,
    ended_at    bigint NOT NULL
);
CREATE INDEX tasks_ready ON tasks (queue, tenant, not_before, id) WHERE state = 'ready';
CREATE INDEX tasks_next ON tasks (not_before) WHERE state = 'ready';
CREATE INDEX tasks_flight ON tasks (queue, tenant) WHERE state IN ('admitted', 'running');
CREATE INDEX tasks_admitted ON tasks (admitted_at) WHERE state = 'admitted';
CREATE INDEX tasks_process ON tasks (process) WHERE state = 'running';
CREATE INDEX tasks_run ON tasks (run, id);
CREATE INDEX tasks_begun ON tasks (tenant, run) WHERE started_at > 0;

CREATE TABLE ended_tasks (
    id          text PRIMARY KEY,
    run         text NOT NULL,
    tenant      text NOT NULL,
    resource    text NOT NULL,
    workload    text NOT NULL,
    action      text NOT NULL,
    queue       text NOT NULL,
    state       text NOT NULL,
    admission   bigint NOT NULL,
    attempt     bigint NOT NULL,
    not_before  bigint NOT NULL, -- admissible from; never before created_at
    reason      text NOT NULL,
    kind        text NOT NULL,
    params      bytea,
    items       bigint NOT NULL,
    total       bigint NOT NULL,
    skipped     bigint NOT NULL,
    bytes       bigint NOT NULL,
    stored      bigint NOT NULL,
    snapshot    bigint NOT NULL,
    process     text NOT NULL,
    created_at  bigint NOT NULL,
    admitted_at bigint NOT NULL,
    started_at  bigint NOT NULL,
    ended_at    bigint NOT NULL
);
CREATE INDEX ended_tasks_run ON ended_tasks (run, id);
CREATE INDEX ended_tasks_trouble ON ended_tasks (run, id) WHERE reason <> '' OR skipped > 0 OR state = 'failed';

CREATE TABLE problems (
    task    text NOT NULL,
    n       bigint NOT NULL,
    tenant  text NOT NULL,
    item_id text NOT NULL,
    name    text NOT NULL,
    reason  text NOT NULL,
    PRIMARY KEY (task, n)
);

-- The unit of exclusion: who writes a series, under which epoch, and its one unfinished backup.
CREATE TABLE series (
    tenant        text NOT NULL,
    resource      text NOT NULL,
    workload      text NOT NULL,
    epoch         bigint NOT NULL,
    owner_task    text NOT NULL,
    owner_process text NOT NULL,
    backup_task   text NOT NULL,
    PRIMARY KEY (tenant, resource, workload)
);
CREATE INDEX series_process ON series (owner_process) WHERE owner_process <> '';

CREATE TABLE snapshots (
    tenant   text NOT NULL,
    resource text NOT NULL,
    workload text NOT NULL,
    seq      bigint NOT NULL,
    taken_at bigint NOT NULL,
    task     text NOT NULL,
    items    bigint NOT NULL,
    total    bigint NOT NULL,
    skipped  bigint NOT NULL,
    bytes    bigint NOT NULL,
    stored   bigint NOT NULL,
    PRIMARY KEY (tenant, resource, workload, seq)
);

CREATE TABLE tokens (
    hash       text PRIMARY KEY,
    name       text NOT NULL UNIQUE,
    created_at bigint NOT NULL
);

-- What all processes of the fleet sign with, made once.
CREATE TABLE secrets (
    name  text PRIMARY KEY,
    value text NOT NULL
);

CREATE TABLE audit (
    id     integer PRIMARY KEY AUTOINCREMENT,
    at     bigint NOT NULL,
    actor  text NOT NULL,
    tenant text NOT NULL,
    action text NOT NULL,
    detail text NOT NULL
);
CREATE INDEX audit_tenant ON audit (tenant, id);

CREATE TABLE processes (
    id         text PRIMARY KEY,
    role       text NOT NULL,
    slots      text NOT NULL, -- JSON: queue to number
    expires_at bigint NOT NULL
);

CREATE TABLE leader (
    one        bigint PRIMARY KEY CHECK (one = 1),
    process    text NOT NULL,
    fence      bigint NOT NULL,
    expires_at bigint NOT NULL
);
INSERT INTO leader (one, process, fence, expires_at) VALUES (1, '', 0, 0);

CREATE TABLE alarms (
    cause  text PRIMARY KEY,
    detail text NOT NULL,
    since  bigint NOT NULL,
    until  bigint NOT NULL,
    times  bigint NOT NULL
);

CREATE TABLE mirrors (
    name text PRIMARY KEY,
    doc  bytea NOT NULL,
    at   bigint NOT NULL
);

-- Counts wakes, for the other processes that share this file.
CREATE TABLE wakes (
    one bigint PRIMARY KEY CHECK (one = 1),
    n   bigint NOT NULL
);
INSERT INTO wakes (one, n) VALUES (1, 0);

-- +goose Down
DROP TABLE wakes;
DROP TABLE mirrors;
DROP TABLE alarms;
DROP TABLE leader;
DROP TABLE processes;
DROP TABLE audit;
DROP TABLE secrets;
DROP TABLE tokens;
DROP TABLE snapshots;
DROP TABLE series;
DROP TABLE problems;
DROP TABLE ended_tasks;
DROP TABLE tasks;
DROP TABLE runs;
DROP TABLE protections;
DROP TABLE policies;
DROP TABLE sync_links;
DROP TABLE resources;
DROP TABLE consents;
DROP TABLE tenants;
