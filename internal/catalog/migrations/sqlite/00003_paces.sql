-- How long slices of a flow hold their slot and what they cost, as moving means: the leader
-- sizes a flow's tasks in flight by them.

-- +goose Up
CREATE TABLE paces (
    tenant  text NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    service text NOT NULL,
    seconds real NOT NULL, -- of a slice
    units   real NOT NULL, -- Graph's resource units, or requests, of a slice
    PRIMARY KEY (tenant, service)
);

-- +goose Down
DROP TABLE paces;
