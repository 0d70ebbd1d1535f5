-- Workers outside of the provider's network: the tokens by which they join, who they are, and what the database shows
-- to their logins. Row-level security itself is switched on when the first one joins (confine.go): until then it
-- costs nothing.

-- +goose Up
ALTER TABLE enrolments ADD COLUMN id text COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE enrolments ADD COLUMN worker text COLLATE "C" NOT NULL DEFAULT ''; -- that it made, '' = none yet
ALTER TABLE enrolments ADD COLUMN revoked_at bigint NOT NULL DEFAULT 0; -- 0 = never
CREATE INDEX enrolments_id ON enrolments (id);

CREATE TABLE workers (
    id          text COLLATE "C" PRIMARY KEY,
    pool        text COLLATE "C" NOT NULL REFERENCES pools (name),
    name        text NOT NULL, -- the machine, as it named itself
    login       text COLLATE "C" NOT NULL UNIQUE, -- its role in this database, and its user in Redis
    hash        text COLLATE "C" NOT NULL, -- of its credential
    next_hash   text COLLATE "C" NOT NULL, -- of the one that follows, '' = none
    redis_hash  text COLLATE "C" NOT NULL, -- of its password in Redis, '' = none yet
    enrolled_at bigint NOT NULL,
    rotated_at  bigint NOT NULL,
    seen_at     bigint NOT NULL, -- when it last began to work
    version     text NOT NULL, -- of its program
    revoked_at  bigint NOT NULL, -- 0 = never
    revoked_by  text NOT NULL
);

-- The tenants that this session may see: NULL where it is none of an enrolled worker. What the worker was told lately
-- does not count: a revoked one sees nothing with its next statement.
-- +goose StatementBegin
CREATE FUNCTION confined_tenants() RETURNS text[] LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    IF NOT starts_with(session_user::text, 'tenantry_w_') THEN
        RETURN NULL;
    END IF;
    RETURN ARRAY(SELECT t.id FROM workers w JOIN tenants t ON t.pool = w.pool WHERE w.login = session_user::text AND w.revoked_at = 0);
END;
$$;
-- +goose StatementEnd

-- The enrolled worker whose session this is: '' where it is none, NULL where it is revoked.
-- +goose StatementBegin
CREATE FUNCTION confined_worker() RETURNS text LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    IF NOT starts_with(session_user::text, 'tenantry_w_') THEN
        RETURN '';
    END IF;
    RETURN (SELECT w.id FROM workers w WHERE w.login = session_user::text AND w.revoked_at = 0);
END;
$$;
-- +goose StatementEnd

-- Whose lease it is stands there by itself: a worker cannot name another.
ALTER TABLE processes ADD COLUMN worker text COLLATE "C" NOT NULL DEFAULT confined_worker();

-- +goose Down
ALTER TABLE processes DROP COLUMN worker;
DROP FUNCTION confined_worker CASCADE;
DROP FUNCTION confined_tenants CASCADE;
DROP TABLE workers;
DROP INDEX enrolments_id;
ALTER TABLE enrolments DROP COLUMN revoked_at;
ALTER TABLE enrolments DROP COLUMN worker;
ALTER TABLE enrolments DROP COLUMN id;
