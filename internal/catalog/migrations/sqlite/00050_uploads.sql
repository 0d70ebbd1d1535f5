-- Upload sessions that restores keep beyond a slice, wrapped with the tenant's key: their addresses are credentials.
-- No reference to tasks: a session outlives the unfinished one, until Microsoft was told.

-- +goose Up
CREATE TABLE uploads (
    tenant  text NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    task    text NOT NULL,
    name    text NOT NULL, -- digest of what is uploaded where
    key_id  text NOT NULL,
    wrapped bytea NOT NULL,
    ends_at bigint NOT NULL DEFAULT 0, -- 0 = not known
    PRIMARY KEY (tenant, task, name)
);

-- +goose Down
DROP TABLE uploads;
