-- Tokens have a role, may be confined to one tenant, and may expire. The audit log is
-- append-only for everybody, and says where a request came from.

-- +goose Up
ALTER TABLE tokens ADD COLUMN role text NOT NULL DEFAULT 'provider-admin';
ALTER TABLE tokens ADD COLUMN tenant text NOT NULL DEFAULT ''; -- '' = the whole fleet
ALTER TABLE tokens ADD COLUMN expires_at bigint NOT NULL DEFAULT 0; -- 0 = never
ALTER TABLE tokens ADD COLUMN created_by text NOT NULL DEFAULT '';
ALTER TABLE audit ADD COLUMN source text NOT NULL DEFAULT '';
-- +goose StatementBegin
CREATE FUNCTION audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit log is append-only';
END $$;
-- +goose StatementEnd
CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit
    FOR EACH STATEMENT EXECUTE FUNCTION audit_is_append_only();

-- +goose Down
DROP TRIGGER audit_append_only ON audit;
DROP FUNCTION audit_is_append_only();
ALTER TABLE audit DROP COLUMN source;
ALTER TABLE tokens DROP COLUMN created_by;
ALTER TABLE tokens DROP COLUMN expires_at;
ALTER TABLE tokens DROP COLUMN tenant;
ALTER TABLE tokens DROP COLUMN role;
