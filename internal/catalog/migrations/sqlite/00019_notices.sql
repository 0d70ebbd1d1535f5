-- Who is told what by mail, what they have been told, and the mails that wait.

-- +goose Up
CREATE TABLE notices (
    tenant         text NOT NULL, -- '' = the provider
    policy         text NOT NULL, -- '' = the tenant as a whole
    settings       text NOT NULL,             -- JSON
    changed_at     bigint NOT NULL,
    reported_at    bigint NOT NULL,           -- what the next report begins at
    next_report_at bigint NOT NULL,           -- 0 = none is wanted
    looked_at      bigint NOT NULL,           -- when stale backups were looked for
    PRIMARY KEY (tenant, policy)
);
CREATE INDEX notices_due ON notices (next_report_at) WHERE next_report_at > 0;

-- How far the first backup of a policy has come. Policies that are there already had theirs.
CREATE TABLE first_backups (
    tenant    text NOT NULL,
    policy    text NOT NULL,
    stage     text NOT NULL, -- new, accepted, listed, ended
    begun_at  bigint NOT NULL,
    told_at   bigint NOT NULL, -- of the last mail about it
    looked_at bigint NOT NULL,
    PRIMARY KEY (tenant, policy)
);
CREATE INDEX first_backups_open ON first_backups (looked_at) WHERE stage <> 'ended';
INSERT INTO first_backups (tenant, policy, stage, begun_at, told_at, looked_at)
    SELECT tenant, id, 'ended', created_at, 0, 0 FROM policies;

-- What is wrong with a tenant, by cause, and how much of it nobody was told.
CREATE TABLE troubles (
    tenant  text NOT NULL, -- '' = everybody
    cause   text NOT NULL,
    seen    bigint NOT NULL,  -- as it was counted last
    untold  bigint NOT NULL,  -- of that, what no mail has told
    since   bigint NOT NULL,  -- of what is untold
    told_at bigint NOT NULL,  -- of the last mail at once
    PRIMARY KEY (tenant, cause)
);
CREATE INDEX troubles_untold ON troubles (tenant) WHERE untold > 0;
CREATE INDEX ledger_totals ON ledger (tenant) WHERE run = '' AND day = 0;

CREATE TABLE outbox (
    id          text PRIMARY KEY, -- begins with its time
    key         text NOT NULL UNIQUE, -- what it tells whom: once
    tenant      text NOT NULL, -- '' = the provider
    policy      text NOT NULL,
    event       text NOT NULL,
    recipient   text NOT NULL,
    subject     text NOT NULL,
    plain       text NOT NULL,
    html        text NOT NULL,
    state       text NOT NULL, -- waiting, sending, sent, failed
    attempts    bigint NOT NULL,
    not_before  bigint NOT NULL,
    owner       text NOT NULL, -- process that sends it
    lease_until bigint NOT NULL,
    reason      text NOT NULL,
    created_at  bigint NOT NULL,
    ended_at    bigint NOT NULL
);
CREATE INDEX outbox_due ON outbox (not_before) WHERE state IN ('waiting', 'sending');
CREATE INDEX outbox_tenant ON outbox (tenant, id);

-- +goose Down
DROP TABLE outbox;
DROP INDEX ledger_totals;
DROP TABLE troubles;
DROP TABLE first_backups;
DROP TABLE notices;
