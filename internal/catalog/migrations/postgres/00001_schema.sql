-- Identifiers compare by byte (COLLATE "C"), so that pages and time ranges mean the
-- same here, in SQLite and in Go. Every time is microseconds since 1970 UTC, 0 = never.

-- +goose Up
CREATE TABLE tenants (
    id           text COLLATE "C" PRIMARY KEY,
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
    sync_task    text COLLATE "C" NOT NULL DEFAULT '', -- its unfinished sync: there is at most one
    virtual      double precision NOT NULL DEFAULT 0   -- the dispatcher's virtual time
);
CREATE UNIQUE INDEX tenants_directory ON tenants (lower(directory)) WHERE directory <> '';
CREATE UNIQUE INDEX tenants_directory_id ON tenants (lower(directory_id)) WHERE directory_id <> '';
CREATE INDEX tenants_next_sync ON tenants (next_sync_at) WHERE state = 'connected';

CREATE TABLE consents (
    state_hash text COLLATE "C" PRIMARY KEY,
    tenant     text COLLATE "C" NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    expires_at bigint NOT NULL
);
CREATE INDEX consents_expires ON consents (expires_at);

CREATE TABLE resources (
    tenant       text COLLATE "C" NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    id           text COLLATE "C" NOT NULL,
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
    tenant text COLLATE "C" NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    kind   text NOT NULL,
    link   text NOT NULL,
    at     bigint NOT NULL,
    PRIMARY KEY (tenant, kind)
);

CREATE TABLE policies (
    tenant     text COLLATE "C" NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    id         text COLLATE "C" NOT NULL,
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
    tenant      text COLLATE "C" NOT NULL,
    policy      text COLLATE "C" NOT NULL,
    resource    text COLLATE "C" NOT NULL,
    workload    text COLLATE "C" NOT NULL,
    next_due_at bigint NOT NULL,
    PRIMARY KEY (tenant, policy, resource, workload),
    FOREIGN KEY (tenant, policy) REFERENCES policies (tenant, id) ON DELETE CASCADE
);
CREATE INDEX protections_due ON protections (next_due_at);
CREATE INDEX protections_resource ON protections (tenant, resource);

CREATE TABLE runs (
    id         text COLLATE "C" PRIMARY KEY,
    tenant     text COLLATE "C" NOT NULL,
    policy     text COLLATE "C" NOT NULL,
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

-- Unfinished tasks only: small, hot, never partitioned. Rows leave for ended_tasks when they
-- end, so that the leader's queries never look at history and no old row holds a partition.
CREATE TABLE tasks (
    id          text COLLATE "C" PRIMARY KEY,
    run         text COLLATE "C" NOT NULL,
    tenant      text COLLATE "C" NOT NULL,
    resource    text COLLATE "C" NOT NULL,
    workload    text COLLATE "C" NOT NULL,
    action      text NOT NULL,
    queue       text COLLATE "C" NOT NULL,
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
    process     text COLLATE "C" NOT NULL,
    created_at  bigint NOT NULL,
    admitted_at bigint NOT NULL,
    started_at  bigint NOT NULL,
    ended_at    bigint NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);
CREATE INDEX tasks_ready ON tasks (queue, tenant, not_before, id) WHERE state = 'ready';
CREATE INDEX tasks_next ON tasks (not_before) WHERE state = 'ready';
CREATE INDEX tasks_flight ON tasks (queue, tenant) WHERE state IN ('admitted', 'running');
CREATE INDEX tasks_admitted ON tasks (admitted_at) WHERE state = 'admitted';
CREATE INDEX tasks_process ON tasks (process) WHERE state = 'running';
CREATE INDEX tasks_run ON tasks (run, id);
CREATE INDEX tasks_begun ON tasks (tenant, run) WHERE started_at > 0;

CREATE TABLE ended_tasks (LIKE tasks) PARTITION BY RANGE (id);
ALTER TABLE ended_tasks ADD PRIMARY KEY (id);
CREATE INDEX ended_tasks_run ON ended_tasks (run, id);
CREATE INDEX ended_tasks_trouble ON ended_tasks (run, id) WHERE reason <> '' OR skipped > 0 OR state = 'failed';
CREATE TABLE ended_tasks_default PARTITION OF ended_tasks DEFAULT;

CREATE TABLE problems (
    task    text COLLATE "C" NOT NULL,
    n       bigint NOT NULL,
    tenant  text COLLATE "C" NOT NULL,
    item_id text NOT NULL,
    name    text NOT NULL,
    reason  text NOT NULL,
    PRIMARY KEY (task, n)
) PARTITION BY RANGE (task);
CREATE TABLE problems_default PARTITION OF problems DEFAULT;

-- The unit of exclusion: who writes a series, under which epoch, and its one unfinished backup.
CREATE TABLE series (
    tenant        text COLLATE "C" NOT NULL,
    resource      text COLLATE "C" NOT NULL,
    workload      text COLLATE "C" NOT NULL,
    epoch         bigint NOT NULL,
    owner_task    text COLLATE "C" NOT NULL,
    owner_process text COLLATE "C" NOT NULL,
    backup_task   text COLLATE "C" NOT NULL,
    PRIMARY KEY (tenant, resource, workload)
);
CREATE INDEX series_process ON series (owner_process) WHERE owner_process <> '';

CREATE TABLE snapshots (
    tenant   text COLLATE "C" NOT NULL,
    resource text COLLATE "C" NOT NULL,
    workload text COLLATE "C" NOT NULL,
    seq      bigint NOT NULL,
    taken_at bigint NOT NULL,
    task     text COLLATE "C" NOT NULL,
    items    bigint NOT NULL,
    total    bigint NOT NULL,
    skipped  bigint NOT NULL,
    bytes    bigint NOT NULL,
    stored   bigint NOT NULL,
    PRIMARY KEY (tenant, resource, workload, seq)
);

CREATE TABLE tokens (
    hash       text COLLATE "C" PRIMARY KEY,
    name       text NOT NULL UNIQUE,
    created_at bigint NOT NULL
);

-- What all processes of the fleet sign with, made once.
CREATE TABLE secrets (
    name  text PRIMARY KEY,
    value text NOT NULL
);

CREATE TABLE audit (
    id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at     bigint NOT NULL,
    actor  text NOT NULL,
    tenant text COLLATE "C" NOT NULL,
    action text NOT NULL,
    detail text NOT NULL
);
CREATE INDEX audit_tenant ON audit (tenant, id);

CREATE TABLE processes (
    id         text COLLATE "C" PRIMARY KEY,
    role       text NOT NULL,
    slots      text NOT NULL, -- JSON: queue to number
    expires_at bigint NOT NULL
);

CREATE TABLE leader (
    one        bigint PRIMARY KEY CHECK (one = 1),
    process    text COLLATE "C" NOT NULL,
    fence      bigint NOT NULL,
    expires_at bigint NOT NULL
);
INSERT INTO leader (one, process, fence, expires_at) VALUES (1, '', 0, 0);

CREATE TABLE alarms (
    cause  text COLLATE "C" PRIMARY KEY,
    detail text NOT NULL,
    since  bigint NOT NULL,
    until  bigint NOT NULL,
    times  bigint NOT NULL
);

CREATE TABLE mirrors (
    name text COLLATE "C" PRIMARY KEY,
    doc  bytea NOT NULL,
    at   bigint NOT NULL
);

-- +goose Down
DROP TABLE mirrors, alarms, leader, processes, audit, secrets, tokens, snapshots, series, problems,
    ended_tasks, tasks, runs, protections, policies, sync_links, resources, consents, tenants;
