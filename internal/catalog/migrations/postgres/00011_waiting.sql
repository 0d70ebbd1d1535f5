-- A claim changes nothing that an index looks at, so that Postgres writes it into the page
-- of its row and into no index (HOT): it cost five entries among the remains of those before.
-- Whether a task waits for the leader is a column of its own, and the rest of its state is in
-- no index. What is in flight is little, and is searched for the unclaimed and for the dead.
-- A leader of the last release finds tasks without these indexes until it is replaced, slowly.

-- +goose Up
ALTER TABLE tasks ADD COLUMN waiting boolean NOT NULL GENERATED ALWAYS AS (state = 'ready') STORED;
ALTER TABLE tasks SET (fillfactor = 70);
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
ALTER TABLE tasks RESET (fillfactor);
ALTER TABLE tasks DROP COLUMN waiting;
CREATE INDEX tasks_ready ON tasks (queue, tenant, service, not_before, id) WHERE state = 'ready';
CREATE INDEX tasks_next ON tasks (not_before) WHERE state = 'ready';
CREATE INDEX tasks_flight ON tasks (queue, tenant, service) WHERE state IN ('admitted', 'running');
CREATE INDEX tasks_admitted ON tasks (admitted_at) WHERE state = 'admitted';
CREATE INDEX tasks_process ON tasks (process) WHERE state = 'running';
CREATE INDEX tasks_begun ON tasks (tenant, run) WHERE started_at > 0;
