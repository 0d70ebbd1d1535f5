-- A certificate that the fleet registered itself is rotated by itself (package directory draws how): what Microsoft
-- knows it by, when a new one was offered, and why it could not be rotated. The purpose of one that is not used yet is
-- rotate; of an application there is one such at a time.

-- +goose Up
ALTER TABLE credentials ADD COLUMN object_id text NOT NULL DEFAULT ''; -- of the application; '' = not registered by us
ALTER TABLE credentials ADD COLUMN remote_key text NOT NULL DEFAULT ''; -- the certificate's ID at Microsoft, '' = not known
ALTER TABLE credentials ADD COLUMN offered_at bigint NOT NULL DEFAULT 0; -- when Microsoft was asked to take it
ALTER TABLE credentials ADD COLUMN stuck text NOT NULL DEFAULT ''; -- why it could not be rotated
UPDATE credentials SET object_id = r.object_id FROM registrations AS r
    WHERE r.tenant = credentials.tenant AND r.credential = credentials.id AND r.state = 'done';
CREATE UNIQUE INDEX credentials_rotating ON credentials (object_id, tenant) WHERE purpose = 'rotate';

-- +goose Down
DROP INDEX credentials_rotating;
ALTER TABLE credentials DROP COLUMN stuck;
ALTER TABLE credentials DROP COLUMN offered_at;
ALTER TABLE credentials DROP COLUMN remote_key;
ALTER TABLE credentials DROP COLUMN object_id;
