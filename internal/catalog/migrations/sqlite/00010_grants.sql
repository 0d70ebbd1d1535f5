-- What a tenant's consent gave, as its last connect proved it: application permissions with spaces between.

-- +goose Up
ALTER TABLE tenants ADD COLUMN roles text NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE tenants DROP COLUMN roles;
