-- What kind of group or site a resource stands for (a mailbox's kind has its own column), whether a group's members
-- follow a rule, and which site is a group's. '' = nobody has said: the next sync lists such groups and sites anew.

-- +goose Up
ALTER TABLE resources ADD COLUMN subkind text NOT NULL DEFAULT '';
ALTER TABLE resources ADD COLUMN dynamic boolean NOT NULL DEFAULT false;
ALTER TABLE resources ADD COLUMN site text NOT NULL DEFAULT ''; -- of a group: the ID of its site's resource, '' = not known

-- +goose Down
ALTER TABLE resources DROP COLUMN site;
ALTER TABLE resources DROP COLUMN dynamic;
ALTER TABLE resources DROP COLUMN subkind;
