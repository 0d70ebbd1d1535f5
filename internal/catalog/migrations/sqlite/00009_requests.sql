-- Requests to the API that came with an idempotency key, for a day.

-- +goose Up
CREATE TABLE requests (
    actor   text NOT NULL,
    key     text NOT NULL,
    content text NOT NULL, -- fingerprint of what was asked for
    answer  blob,         -- NULL = under way, or nobody knows
    at      bigint NOT NULL,
    PRIMARY KEY (actor, key)
);
CREATE INDEX requests_at ON requests (at);

-- +goose Down
DROP TABLE requests;
