package directory

import (
	"cmp"
	"context"
	"errors"
	"regexp"
	"slices"
	"strings"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/graph"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// RequiredRoles are the application permissions without which nothing of a tenant can be listed, and it is
// not connected. What each workload takes beyond them is asked of that workload alone (see
// tenantry.EnableState).
func RequiredRoles() []string {
	var names []string
	for _, p := range tenantry.PermissionsFor(tenantry.ToList, "") {
		names = append(names, p.Name)
	}
	return names
}

// MissingRoles returns the required permissions that granted lacks, in their order.
func MissingRoles(required, granted []string) []string {
	var missing []string
	for _, role := range required {
		p := tenantry.Permission{Name: role}
		if i := slices.IndexFunc(tenantry.Permissions(), func(k tenantry.Permission) bool { return k.Name == role }); i >= 0 {
			p = tenantry.Permissions()[i]
		}
		if !p.Granted(granted) {
			missing = append(missing, role)
		}
	}
	return missing
}

// MissingForBackup names, for each workload that lacks some, the permissions without which it cannot be
// backed up.
func MissingForBackup(granted []string) map[tenantry.Workload][]string {
	lacks := map[tenantry.Workload][]string{}
	for _, w := range tenantry.Workloads() {
		if missing, _ := tenantry.Missing(tenantry.PermissionsFor(tenantry.ToBackup, w), granted); len(missing) > 0 {
			lacks[w] = missing
		}
	}
	return lacks
}

// Connect proves the consent of a tenant: a token for the directory that consented, its
// permissions, and that it is the organisation that was expected. On success the tenant
// is connected, its first sync is inserted as a run of its own, and the leader is woken.
//
// When it fails it changes nothing; the caller decides how long to try. Errors:
// Transient while a consent may not have taken effect yet; Reconnect, naming what is
// missing; Invalid, naming both, when another organisation consented than was expected,
// or when the organisation is connected as another tenant already.
func (d *Directory) Connect(ctx context.Context, t tenantry.TenantID, req tenantry.ConnectRequest) error {
	scope := d.cfg.Catalog.Tenant(t)
	row, err := scope.Get(ctx)
	if err != nil {
		return err
	}
	id := cmp.Or(req.Directory, row.DirectoryID, row.Directory)
	if isGUID(row.Directory) && isGUID(id) && !strings.EqualFold(row.Directory, id) {
		return wrongOrganization(row.Directory, id)
	}
	g := d.cfg.Open(t, id)
	grant, err := g.Grant(ctx)
	if err != nil {
		return settling(row, err)
	}
	if len(grant.Roles) == 0 {
		return tenantry.Errorf(tenantry.Transient, "the consent of %s gives no permission yet", id)
	}
	org, err := g.Organization(ctx)
	if err != nil {
		return settling(row, err)
	}
	if err := expected(row, grant, org); err != nil {
		return err
	}
	if missing := MissingRoles(d.cfg.Required, grant.Roles); len(missing) > 0 {
		return tenantry.Errorf(tenantry.Reconnect,
			"the consent of %s lacks %s: consent again with an application that asks for it", named(org), strings.Join(missing, ", "))
	}
	licences, err := g.Licences(ctx)
	if err != nil {
		return settling(row, err)
	}
	return d.connected(ctx, scope, row, grant, licences)
}

// connected writes down a proved consent. It may be interrupted and repeated.
func (d *Directory) connected(ctx context.Context, scope *catalog.Tenant, row catalog.TenantRow, grant graph.Grant, licences int64) error {
	directoryID := grant.DirectoryID
	if row.DirectoryID != directoryID {
		err := scope.SetDirectoryID(ctx, directoryID)
		if tenantry.KindOf(err) == tenantry.Conflict {
			return tenantry.E(tenantry.Invalid, "directory "+directoryID+" is connected as another tenant of this fleet", err)
		}
		if err != nil {
			return err
		}
	}
	if err := d.proved(ctx, scope, row.ID, grant); err != nil {
		return err
	}
	if !slices.Equal(row.Roles, grant.Roles) {
		if err := d.record(ctx, row.ID, grant); err != nil {
			return err
		}
	}
	if err := scope.SetSize(ctx, row.Users, licences); err != nil {
		return err
	}
	if err := scope.SetState(ctx, tenantry.TenantConnected, ""); err != nil {
		return err
	}
	first := []catalog.NewTask{{Action: tenantry.Sync}}
	_, err := scope.StartRun(ctx, tenantry.Sync, "system", "", first, d.cfg.Now())
	if err != nil && tenantry.KindOf(err) != tenantry.Conflict { // Conflict: one is under way
		return err
	}
	return d.cfg.Catalog.Fleet().Wake(ctx)
}

// proved writes down what a fresh token permits, for the tenant and for each of its workloads.
func (d *Directory) proved(ctx context.Context, scope *catalog.Tenant, t tenantry.TenantID, grant graph.Grant) error {
	if err := scope.SetRoles(ctx, grant.Roles); err != nil {
		return err
	}
	if err := scope.AuthoriseWorkloads(ctx, MissingForBackup(grant.Roles), d.cfg.Now()); err != nil {
		return err
	}
	if err := d.restoresProved(ctx, scope, t, grant); err != nil {
		return err
	}
	return d.watchCredentials(ctx, scope)
}

// restoresProved writes down what restores may do. Their application may have no consent, and that keeps nothing
// else from going on: restores then go by the other one.
func (d *Directory) restoresProved(ctx context.Context, scope *catalog.Tenant, t tenantry.TenantID, grant graph.Grant) error {
	if d.cfg.ForRestores != nil {
		other, err := d.cfg.ForRestores(t, grant.DirectoryID).Grant(ctx)
		switch {
		case err == nil:
			grant = other
		case tenantry.KindOf(err) == tenantry.Reconnect:
			return scope.SetRestoreRoles(ctx, nil)
		default:
			d.cfg.Log.Warnw("what restores may do is not known today; what was known stays", "tenant", t, "error", err)
			return nil
		}
	}
	return scope.SetRestoreRoles(ctx, grant.Roles)
}

// record keeps in the audit log what a consent has been proved to permit.
func (d *Directory) record(ctx context.Context, id tenantry.TenantID, grant graph.Grant) error {
	return d.cfg.Catalog.Fleet().Audit(ctx, catalog.AuditEntry{
		At: d.cfg.Now(), Actor: "system", Tenant: id, Action: "consent-proved",
		Detail: "directory " + grant.DirectoryID + " grants " + strings.Join(grant.Roles, ", "),
	})
}

// expected refuses an organisation that is not the one the tenant was added for, or not
// the one that was connected before.
func expected(row catalog.TenantRow, grant graph.Grant, org graph.Organization) error {
	if !strings.EqualFold(grant.DirectoryID, org.ID) {
		return tenantry.Errorf(tenantry.Internal, "the token is of directory %s, and the organisation says %s", grant.DirectoryID, org.ID)
	}
	if row.DirectoryID != "" && !strings.EqualFold(row.DirectoryID, org.ID) {
		return wrongOrganization(row.DirectoryID, named(org))
	}
	same := func(domain string) bool { return strings.EqualFold(domain, row.Directory) }
	switch {
	case row.Directory == "", same(org.ID), slices.ContainsFunc(org.Domains, same):
		return nil
	}
	return wrongOrganization(row.Directory, named(org))
}

func wrongOrganization(want, got string) error {
	return tenantry.Errorf(tenantry.Invalid, "expected the consent of %s, but %s consented", want, got)
}

func named(org graph.Organization) string {
	if org.Name == "" {
		return org.ID
	}
	return org.Name + " (" + org.ID + ")"
}

// settling turns the errors of a consent that has not taken effect everywhere into
// Transient (AADSTS700016, AADSTS65001 or 403 for a while). Who never consented is not told to
// consent again.
func settling(row catalog.TenantRow, err error) error {
	if tenantry.KindOf(err) != tenantry.Reconnect {
		return err
	}
	code := tenantry.CodeOf(err)
	wait := &tenantry.Error{Kind: tenantry.Transient, Op: "wait for the consent to take effect", Code: code, Err: err}
	switch strings.TrimPrefix(strings.ToUpper(code), "AADSTS") {
	case "AUTHORIZATION_REQUESTDENIED":
		return wait
	case "700016", "65001":
		var refused *tenantry.Error
		if row.DirectoryID == "" && errors.As(err, &refused) {
			wait.Op += ": there is none yet: send the consent link to the tenant's administrator"
			wait.Err = refused.Err // Microsoft's own words
		}
		return wait
	}
	return err
}

var guid = regexp.MustCompile(`^(?i)[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

func isGUID(s string) bool { return guid.MatchString(s) }
