-- A person may ask for a certificate to be rotated before its time: since when, 0 = nobody has asked.

-- +goose Up
ALTER TABLE credentials ADD COLUMN rotate_at bigint NOT NULL DEFAULT 0;

-- +goose Down
ALTER TABLE credentials DROP COLUMN rotate_at;
