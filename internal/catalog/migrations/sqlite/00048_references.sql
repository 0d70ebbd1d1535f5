-- The table first_backups is of use to no program of this release (00042 took its place), and stays for those before.
-- The references of restores and exports are unique in a fleet: people say them on the phone. Those of the others may
-- come twice by chance, as may those that programs of the last release give.

-- +goose Up
ALTER TABLE runs ADD COLUMN reserved bigint NOT NULL DEFAULT 0; -- the reference of a restore or export, 0 = of another run
UPDATE runs SET reserved = reference WHERE action IN ('restore', 'export') AND reference > 0
    AND id = (SELECT min(r.id) FROM runs AS r WHERE r.reference = runs.reference AND r.reference > 0 AND r.action IN ('restore', 'export'));
CREATE UNIQUE INDEX runs_reserved ON runs (reserved) WHERE reserved > 0;

-- +goose Down
DROP INDEX runs_reserved;
ALTER TABLE runs DROP COLUMN reserved;
