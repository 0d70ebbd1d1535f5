-- Whose organisation a tenant is, as the provider's people said it, decides for which directory and in which cloud tokens of the provider's
-- application are given to an enrolled worker. It may change much of its tenants, but not that: it would get another
-- organisation's token. That no session of one may is held here and not by a right, so that it is true of those that
-- are open, too.

-- +goose Up
-- +goose StatementBegin
CREATE FUNCTION held_directory() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF starts_with(session_user::text, 'tenantry_w_') THEN
        RAISE EXCEPTION 'an enrolled worker changes no directory and no cloud' USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NEW;
END;
$$;
-- +goose StatementEnd

CREATE TRIGGER held_directory BEFORE UPDATE ON tenants FOR EACH ROW
    WHEN (OLD.directory IS DISTINCT FROM NEW.directory OR OLD.cloud IS DISTINCT FROM NEW.cloud)
    EXECUTE FUNCTION held_directory();

-- +goose Down
DROP TRIGGER held_directory ON tenants;
DROP FUNCTION held_directory;
