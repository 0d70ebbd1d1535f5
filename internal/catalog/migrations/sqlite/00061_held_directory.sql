-- Enrolled workers, from whom Postgres holds a tenant's directory and cloud, are of Postgres alone: here is nothing to do.

-- +goose Up
SELECT 1;

-- +goose Down
SELECT 1;
