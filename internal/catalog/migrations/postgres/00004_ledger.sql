-- What tasks waited for and spent: of each task as JSON on its row, and summed by run and
-- by the tenant's UTC days. Which entries there are says ledger.go.

-- +goose Up
ALTER TABLE tasks ADD COLUMN delays text NOT NULL DEFAULT '';
ALTER TABLE ended_tasks ADD COLUMN delays text NOT NULL DEFAULT '';
CREATE TABLE ledger (
    tenant  text COLLATE "C" NOT NULL,
    run     text COLLATE "C" NOT NULL, -- '' for a day
    day     bigint NOT NULL, -- since 1970, UTC; 0 for a run
    entry   text COLLATE "C" NOT NULL,
    account text COLLATE "C" NOT NULL,
    amount  bigint NOT NULL, -- of waits: microseconds
    PRIMARY KEY (tenant, run, day, entry, account)
);
CREATE INDEX ledger_days ON ledger (day) WHERE day > 0;
CREATE INDEX ledger_runs ON ledger (run) WHERE run <> '';

-- +goose Down
DROP TABLE ledger;
ALTER TABLE ended_tasks DROP COLUMN delays;
ALTER TABLE tasks DROP COLUMN delays;
