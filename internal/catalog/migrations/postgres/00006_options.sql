-- What a policy wants of its backups besides the usual.

-- +goose Up
ALTER TABLE policies ADD COLUMN options text NOT NULL DEFAULT ''; -- JSON, '' is the usual

-- +goose Down
ALTER TABLE policies DROP COLUMN options;
