-- Data regions: a pool of workers works for one region, and so for its tenants alone. A tenant's region and cloud
-- have been columns since 00015; '' there, and here, is the region that every fleet has, which is called default.

-- +goose Up
ALTER TABLE pools ADD COLUMN region text NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE pools DROP COLUMN region;
