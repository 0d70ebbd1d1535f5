-- Workers outside of the provider's network: the tokens by which they join, and who they are. A SQLite file cannot be
-- reached from another machine: the table is there so that both databases answer alike.

-- +goose Up
ALTER TABLE enrolments ADD COLUMN id text NOT NULL DEFAULT '';
ALTER TABLE enrolments ADD COLUMN worker text NOT NULL DEFAULT ''; -- that it made, '' = none yet
ALTER TABLE enrolments ADD COLUMN revoked_at bigint NOT NULL DEFAULT 0; -- 0 = never
CREATE INDEX enrolments_id ON enrolments (id);

CREATE TABLE workers (
    id          text PRIMARY KEY,
    pool        text NOT NULL REFERENCES pools (name),
    name        text NOT NULL, -- the machine, as it named itself
    login       text NOT NULL UNIQUE, -- its role in this database, and its user in Redis
    hash        text NOT NULL, -- of its credential
    next_hash   text NOT NULL, -- of the one that follows, '' = none
    redis_hash  text NOT NULL, -- of its password in Redis, '' = none yet
    enrolled_at bigint NOT NULL,
    rotated_at  bigint NOT NULL,
    seen_at     bigint NOT NULL, -- when it last began to work
    version     text NOT NULL, -- of its program
    revoked_at  bigint NOT NULL, -- 0 = never
    revoked_by  text NOT NULL
);

ALTER TABLE processes ADD COLUMN worker text NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE processes DROP COLUMN worker;
DROP TABLE workers;
DROP INDEX enrolments_id;
ALTER TABLE enrolments DROP COLUMN revoked_at;
ALTER TABLE enrolments DROP COLUMN worker;
ALTER TABLE enrolments DROP COLUMN id;
