-- A claim changes nothing that an index looks at: see the same step for Postgres, where it
-- matters.

-- +goose Up
ALTER TABLE tasks ADD COLUMN waiting integer GENERATED ALWAYS AS (state = 'ready') VIRTUAL;
DROP INDEX tasks_ready;
DROP INDEX tasks_next;
DROP INDEX tasks_flight;
DROP INDEX tasks_admitted;
DROP INDEX tasks_process;
DROP INDEX tasks_begun;
CREATE INDEX tasks_ready ON tasks (queue, tenant, service, not_before, id) WHERE waiting;
CREATE INDEX tasks_next ON tasks (not_before) WHERE waiting;
CREATE INDEX tasks_flight ON tasks (queue, tenant, service) WHERE NOT waiting;
CREATE INDEX tasks_begun ON tasks (tenant, run) WHERE waiting AND admission > 0;

-- +goose Down
DROP INDEX tasks_begun;
DROP INDEX tasks_flight;
DROP INDEX tasks_next;
DROP INDEX tasks_ready;
ALTER TABLE tasks DROP COLUMN waiting;
CREATE INDEX tasks_ready ON tasks (queue, tenant, service, not_before, id) WHERE state = 'ready';
CREATE INDEX tasks_next ON tasks (not_before) WHERE state = 'ready';
CREATE INDEX tasks_flight ON tasks (queue, tenant, service) WHERE state IN ('admitted', 'running');
CREATE INDEX tasks_admitted ON tasks (admitted_at) WHERE state = 'admitted';
CREATE INDEX tasks_process ON tasks (process) WHERE state = 'running';
CREATE INDEX tasks_begun ON tasks (tenant, run) WHERE started_at > 0;
