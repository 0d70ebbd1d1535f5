-- Pools of workers, how a worker joins one, and what a tenant's second application, for restores, may do.

-- +goose Up
ALTER TABLE tenants ADD COLUMN restore_roles text NOT NULL DEFAULT '';
ALTER TABLE processes ADD COLUMN pool text NOT NULL DEFAULT 'main';
CREATE TABLE pools (
    name     text COLLATE "C" PRIMARY KEY,
    note     text NOT NULL,
    added_at bigint NOT NULL
);
INSERT INTO pools (name, note, added_at) VALUES ('main', 'the workers that every fleet has', 0);

-- A one-time token by which a worker joins a pool.
CREATE TABLE enrolments (
    hash       text COLLATE "C" PRIMARY KEY,
    pool       text COLLATE "C" NOT NULL REFERENCES pools (name) ON DELETE CASCADE,
    made_by    text NOT NULL,
    made_at    bigint NOT NULL,
    expires_at bigint NOT NULL,
    used_at    bigint NOT NULL, -- 0 = not yet
    used_by    text NOT NULL -- the machine, as it named itself
);
CREATE INDEX enrolments_expires ON enrolments (expires_at);

-- +goose Down
DROP TABLE enrolments;
DROP TABLE pools;
ALTER TABLE processes DROP COLUMN pool;
ALTER TABLE tenants DROP COLUMN restore_roles;
