-- Names of tokens are unique in their tenant, and those of the fleet among themselves: a tenant's token stands here as
-- TENANT/NAME, so that no tenant can learn which names others have. Programs of the release before show such names as
-- they stand, and know their tokens all the same, by their hash.

-- +goose Up
UPDATE tokens SET name = tenant || '/' || name WHERE tenant <> '' AND name NOT LIKE tenant || '/%';

-- +goose Down
SELECT 1; -- without the prefix two tenants' tokens could have one name
