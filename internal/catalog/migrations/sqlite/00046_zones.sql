-- Whether a tenant has the time zone of its region: as long as both are the same. '' = it has one of its own.

-- +goose Up
ALTER TABLE tenants ADD COLUMN region_zone text NOT NULL DEFAULT 'UTC';

-- +goose Down
ALTER TABLE tenants DROP COLUMN region_zone;
