-- Which programs may still use this schema: those that know no migration as new as this one refuse to start.

-- +goose Up
CREATE TABLE schema_floor (
    one       bigint PRIMARY KEY CHECK (one = 1),
    migration bigint NOT NULL
);
INSERT INTO schema_floor (one, migration) VALUES (1, 0);

-- +goose Down
DROP TABLE schema_floor;
