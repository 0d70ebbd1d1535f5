-- Seats: who takes one of a tenant's licences for being protected, since when and until when,
-- and by which rule.

-- +goose Up
ALTER TABLE tenants ADD COLUMN seat_mode text NOT NULL DEFAULT 'automatic'; -- automatic, manual
ALTER TABLE tenants ADD COLUMN seat_soft bigint NOT NULL DEFAULT 0; -- 0 = no quota
ALTER TABLE tenants ADD COLUMN seat_hard bigint NOT NULL DEFAULT 0;
ALTER TABLE tenants ADD COLUMN seat_rules text NOT NULL DEFAULT ''; -- comma-separated classes, '' = the usual
CREATE TABLE seats (
    tenant   text COLLATE "C" NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    resource text COLLATE "C" NOT NULL,
    since    bigint NOT NULL,
    until    bigint NOT NULL, -- 0 = still
    rule     text NOT NULL,
    actor    text NOT NULL, -- who assigned it, '' = by itself
    PRIMARY KEY (tenant, resource, since)
);
CREATE UNIQUE INDEX seats_open ON seats (tenant, resource) WHERE until = 0;
CREATE INDEX seats_until ON seats (tenant, until);

-- +goose Down
DROP TABLE seats;
ALTER TABLE tenants DROP COLUMN seat_rules;
ALTER TABLE tenants DROP COLUMN seat_hard;
ALTER TABLE tenants DROP COLUMN seat_soft;
ALTER TABLE tenants DROP COLUMN seat_mode;
