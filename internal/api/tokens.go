package api

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// Token is what is known of an API token. The token itself is shown once.
type Token struct {
	Name       string            `json:"name" example:"ada@contoso"`
	Role       Role              `json:"role" enum:"provider-admin,operator,tenant-admin,restore-operator,auditor,read-only"`
	Tenant     tenantry.TenantID `json:"tenant,omitempty" doc:"The only tenant it is good for; absent: all of the fleet"`
	TenantName string            `json:"tenant_name,omitempty" doc:"What people call the tenant"`
	CreatedBy  string            `json:"created_by,omitempty" doc:"Name of the token that made it, TENANT/NAME if it is a tenant's"`
	Created    *time.Time        `json:"created,omitempty"`
	Expires    *time.Time        `json:"expires,omitempty" doc:"Absent: never"`
}

func tokenOf(t catalog.Token) Token {
	return Token{Name: t.Name, Role: Role(t.Role), Tenant: t.Tenant, CreatedBy: t.CreatedBy, Created: when(t.CreatedAt), Expires: when(t.ExpiresAt)}
}

// FreshToken is a token that was just made.
type FreshToken struct {
	Token
	Secret string `json:"token" doc:"The token: it is shown this once" example:"tenantry_..."`
}

// NewTokenBody asks for a token.
type NewTokenBody struct {
	Name   string            `json:"name" minLength:"1" maxLength:"100" pattern:"^[A-Za-z0-9][A-Za-z0-9@._-]*$" doc:"Unique in its tenant, or among those of the whole fleet; the audit log names it, TENANT/NAME if it is a tenant's" example:"ada@contoso"`
	Role   Role              `json:"role" enum:"provider-admin,operator,tenant-admin,restore-operator,auditor,read-only"`
	Tenant tenantry.TenantID `json:"tenant,omitempty" maxLength:"64" doc:"The only tenant it shall be good for; tenant-admin needs one, provider-admin and operator must have none"`
	Days   int               `json:"days,omitempty" minimum:"1" maximum:"3650" doc:"How long it is valid; absent: until it is revoked"`
}

type addTokenInput struct{ Body NewTokenBody }

func (in *addTokenInput) audit() (tenantry.TenantID, any) { return in.Body.Tenant, in.Body }

type revokeTokenInput struct {
	Name   string            `path:"name" maxLength:"200" doc:"Name of the token"`
	Tenant tenantry.TenantID `query:"tenant" maxLength:"64" doc:"Whose token: a tenant's, or 'fleet'; without it the only one of the name" example:"fleet"`
}

func (in *revokeTokenInput) audit() (tenantry.TenantID, any) { return "", in }

type whoamiInput struct{}

func (s *service) tokenRoutes() {
	const tag, all = "tokens", "/v1/tokens"
	write(s, post(http.StatusCreated, "add-token", tag, all, "Make a token with a role, for all tenants or one"), s.addToken)
	read(s, get("list-tokens", tag, all, "List the tokens, expired ones too"), s.listTokens)
	write(s, remove("revoke-token", tag, all+"/{name}", "Revoke a token: it is refused within a second"), s.revokeToken)
	read(s, get("whoami", tag, "/v1/whoami", "Show what the token of this request may do"), s.whoami)
	read(s, get("list-fleet-audit", tag, "/v1/audit", "List what was asked for by everybody, newest first"), s.listFleetAudit)
}

// addToken makes a token that may do no more than the one it was asked with.
func (s *service) addToken(ctx context.Context, in *addTokenInput) (*created[FreshToken], error) {
	by, ask := callerOf(ctx), in.Body
	for _, p := range roles[ask.Role] {
		if !by.may(p) {
			return nil, tenantry.Errorf(tenantry.Forbidden, "a token with the role %s may not make one with the role %s: that may %s", by.role, ask.Role, p)
		}
	}
	if by.tenant != "" && ask.Tenant == "" {
		ask.Tenant = by.tenant
	}
	if by.tenant != "" && ask.Tenant != by.tenant {
		return nil, unknownTenant(ask.Tenant)
	}
	switch {
	case ask.Role.Wide() && ask.Tenant != "":
		return nil, invalid("body.tenant", ask.Tenant, "must be absent: %s is a role over the fleet", ask.Role)
	case ask.Role.Confined() && ask.Tenant == "":
		return nil, invalid("body.tenant", "", "must name a tenant: %s is a role in one", ask.Role)
	}
	if ask.Tenant != "" {
		if _, _, err := s.tenant(ctx, ask.Tenant); err != nil {
			return nil, err
		}
	}
	now := s.Now()
	t := catalog.Token{Name: ask.Name, Role: string(ask.Role), Tenant: ask.Tenant, CreatedBy: by.key(), CreatedAt: now}
	if ask.Days > 0 {
		t.ExpiresAt = now.Add(time.Duration(ask.Days) * 24 * time.Hour)
	}
	token, hash := NewToken()
	if err := s.Catalog.Fleet().AddToken(ctx, t, hash); err != nil {
		return nil, taken(err, "body.name", t.Name, "a token of this name is there already: choose another one")
	}
	return &created[FreshToken]{"/v1/tokens/" + t.Name, FreshToken{tokenOf(t), token.Reveal()}}, nil
}

func (s *service) listTokens(ctx context.Context, in *PageQuery) (*body[Page[Token]], error) {
	rows, err := s.Catalog.Fleet().Tokens(ctx, callerOf(ctx).tenant, in.After, in.Limit+1)
	if err != nil {
		return nil, err
	}
	return paged(rows, in.Limit, tokenOf, catalog.Token.Key), nil
}

func (s *service) revokeToken(ctx context.Context, in *revokeTokenInput) (*struct{}, error) {
	owner, err := s.ownerOf(ctx, in)
	if err != nil {
		return nil, err
	}
	defer s.known.forget()
	return nil, s.Catalog.Fleet().RevokeToken(ctx, owner, in.Name)
}

// theFleet stands for no tenant where one may be named.
const theFleet = "fleet"

// ownerOf finds whose token is to be revoked, "" is the fleet.
func (s *service) ownerOf(ctx context.Context, in *revokeTokenInput) (tenantry.TenantID, error) {
	if own := callerOf(ctx).tenant; own != "" {
		if in.Tenant != "" && in.Tenant != own {
			return "", unknownTenant(in.Tenant)
		}
		return own, nil
	}
	switch in.Tenant {
	case theFleet:
		return "", nil
	case "":
	default:
		return in.Tenant, nil
	}
	named, err := s.Catalog.Fleet().TokensNamed(ctx, in.Name)
	switch {
	case err != nil:
		return "", err
	case len(named) == 0:
		return "", tenantry.Errorf(tenantry.NotFound, "there is no token %q", in.Name)
	case len(named) == 1:
		return named[0].Tenant, nil
	}
	var owners []string
	for _, t := range named {
		owners = append(owners, cmp.Or(string(t.Tenant), theFleet))
	}
	return "", newProblem(tenantry.Conflict, fmt.Sprintf("several tokens are named %q: name one of them by 'tenant', which is %s", in.Name, strings.Join(owners, ", "))).because(codeSeveral)
}

// Identity is who a token makes its holder.
type Identity struct {
	Name        string            `json:"name"`
	Role        Role              `json:"role"`
	Tenant      tenantry.TenantID `json:"tenant,omitempty" doc:"The only tenant it is good for; absent: all of the fleet"`
	Permissions []string          `json:"permissions" nullable:"false" doc:"look, run, protect, open, restore, retain, manage, watch, grant, audit"`
}

func (s *service) whoami(ctx context.Context, _ *whoamiInput) (*body[Identity], error) {
	c := callerOf(ctx)
	i := Identity{Name: c.name, Role: c.role, Tenant: c.tenant}
	for _, p := range roles[c.role] {
		i.Permissions = append(i.Permissions, string(p))
	}
	slices.Sort(i.Permissions)
	return &body[Identity]{i}, nil
}

func (s *service) listFleetAudit(ctx context.Context, in *PageQuery) (*body[Page[AuditEntry]], error) {
	before, err := below(in.After)
	if err != nil {
		return nil, err
	}
	rows, err := s.Catalog.Fleet().AuditTrail(ctx, before, in.Limit+1)
	if err != nil {
		return nil, err
	}
	return paged(rows, in.Limit, auditOf, func(e catalog.AuditEntry) string { return strconv.FormatInt(e.ID, 10) }), nil
}
