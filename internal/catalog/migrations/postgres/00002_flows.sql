-- The service whose limits a task meets: with the tenant, the flow by which the leader
-- admits. A process of the last release writes none ('': a flow of its own, never cooling).

-- +goose Up
ALTER TABLE tasks ADD COLUMN service text COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE ended_tasks ADD COLUMN service text COLLATE "C" NOT NULL DEFAULT '';
DROP INDEX tasks_ready;
DROP INDEX tasks_flight;
CREATE INDEX tasks_ready ON tasks (queue, tenant, service, not_before, id) WHERE state = 'ready';
CREATE INDEX tasks_flight ON tasks (queue, tenant, service) WHERE state IN ('admitted', 'running');

-- +goose Down
DROP INDEX tasks_ready;
DROP INDEX tasks_flight;
CREATE INDEX tasks_ready ON tasks (queue, tenant, not_before, id) WHERE state = 'ready';
CREATE INDEX tasks_flight ON tasks (queue, tenant) WHERE state IN ('admitted', 'running');
ALTER TABLE ended_tasks DROP COLUMN service;
ALTER TABLE tasks DROP COLUMN service;
