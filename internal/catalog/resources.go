package catalog

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/uptrace/bun"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// Resource is one protected thing of a tenant.
type Resource struct {
	ID            tenantry.ResourceID
	Kind          tenantry.ResourceKind
	ObjectID      string // Entra object ID or full SharePoint site ID
	Name, Address string // display name; user principal name, mail or web URL
	MailboxKind   string // user, shared, room, equipment; "" unknown
	// Subkind is the kind of a group or site. Of a user it is MailboxKind, and set by nobody.
	Subkind   tenantry.Subkind
	Dynamic   bool                // of a group: a rule says who is in it
	Site      tenantry.ResourceID // of a group: its site, "" if it is not known
	Licensed  bool
	State     tenantry.LifeState
	StateAt   time.Time
	Workloads []tenantry.Workload // what it can have
	Standing  Standing            // why it is protected or not; "" unless it is active
}

type resourceRow struct {
	bun.BaseModel `bun:"table:resources"`

	Tenant      tenantry.TenantID
	ID          tenantry.ResourceID
	Kind        tenantry.ResourceKind
	ObjectID    string
	Name        string
	Address     string
	MailboxKind string
	Subkind     tenantry.Subkind
	Dynamic     bool
	Site        tenantry.ResourceID
	Licensed    bool
	State       tenantry.LifeState
	StateAt     int64
	Workloads   string
	Standing    Standing
}

const resourceColumns bun.Safe = "tenant, id, kind, object_id, name, address, mailbox_kind, subkind, dynamic, site, licensed, state, state_at, workloads, standing"

func (r *resourceRow) resource(workloads []tenantry.Workload) Resource {
	return Resource{
		ID: r.ID, Kind: r.Kind, ObjectID: r.ObjectID, Name: r.Name, Address: r.Address, MailboxKind: r.MailboxKind,
		Licensed: r.Licensed, State: r.State, StateAt: fromMicros(r.StateAt), Workloads: workloads,
		Standing: r.Standing, Subkind: r.subkind(), Dynamic: r.Dynamic, Site: r.Site,
	}
}

// subkind is what filters and policies go by: of a user the kind of the mailbox.
func (r resourceRow) subkind() tenantry.Subkind {
	if r.Kind == tenantry.User {
		return tenantry.Subkind(r.MailboxKind)
	}
	return r.Subkind
}

// ResourceFilter narrows a listing. Zero fields do not narrow. Paged by ascending ID.
type ResourceFilter struct {
	Kind     tenantry.ResourceKind
	State    tenantry.LifeState
	Standing Standing
	Subkind  tenantry.Subkind
	Unsorted bool   // of groups and sites: those of which nobody has said what kind they are
	Named    string // by its address or its name, whatever its case; "": any
	After    tenantry.ResourceID
	Limit    int // default 100, at most 1000
}

// Resources lists resources of the tenant.
func (t *Tenant) Resources(ctx context.Context, f ResourceFilter) ([]Resource, error) {
	list := f.list(t.id)
	found := make([]Resource, 0, min(page(f.Limit), batch))
	reader := resourceReader{known: words{}, workloads: map[string][]tenantry.Workload{}}
	list.row = func(scan scanRow) error {
		r, err := reader.read(scan)
		found = append(found, r)
		return err
	}
	if err := t.c.look(ctx, "list resources of tenant "+string(t.id), list); err != nil {
		return nil, err
	}
	return found, nil
}

// list is the statement of a listing. It is asked for often, most filters are not: those stand in it only where they
// narrow.
func (f ResourceFilter) list(t tenantry.TenantID) step {
	s := step{query: listResources, args: []any{resourceColumns, t, f.After, f.Kind, f.State, f.Standing, page(f.Limit)}}
	if f.Named != "" {
		s.query += fmt.Sprintf(" AND (lower(address) = lower(?%[1]d) OR lower(name) = lower(?%[1]d))", len(s.args))
		s.args = append(s.args, f.Named)
	}
	if f.Unsorted {
		s.query += " AND kind <> 'user' AND subkind = ''"
	}
	if f.Subkind != "" {
		s.query += fmt.Sprintf(" AND (CASE WHEN kind = 'user' THEN mailbox_kind ELSE subkind END) = ?%d", len(s.args))
		s.args = append(s.args, f.Subkind)
	}
	s.query += " ORDER BY id LIMIT ?6"
	return s
}

const listResources = `
	SELECT ?0 FROM resources
	WHERE tenant = ?1 AND id > ?2 AND (?3 = '' OR kind = ?3) AND (?4 = '' OR state = ?4) AND (?5 = '' OR standing = ?5)`

// resourceReader reads rows of resourceColumns. What most of them have in common is kept once: a page is a quarter of the
// garbage that it would be.
type resourceReader struct {
	known     words
	workloads map[string][]tenantry.Workload
	row       resourceRow
}

func (r *resourceReader) read(scan scanRow) (Resource, error) {
	row := &r.row
	// Plain types behind the named ones: drivers take a way without reflection to them.
	err := scan(r.known.to((*string)(&row.Tenant)), (*string)(&row.ID), r.known.to((*string)(&row.Kind)), &row.ObjectID, &row.Name, &row.Address,
		r.known.to(&row.MailboxKind), r.known.to((*string)(&row.Subkind)), &row.Dynamic, (*string)(&row.Site), &row.Licensed, r.known.to((*string)(&row.State)), &row.StateAt, r.known.to(&row.Workloads), r.known.to((*string)(&row.Standing)))
	if err != nil {
		return Resource{}, err
	}
	list, seen := r.workloads[row.Workloads]
	if !seen {
		list = slices.Clip(split[tenantry.Workload](row.Workloads)) // appending to one must not write into another
		r.workloads[row.Workloads] = list
	}
	return row.resource(list), nil
}

// ResourceCounts counts the resources of the tenant by their state.
func (t *Tenant) ResourceCounts(ctx context.Context) (map[tenantry.LifeState]int64, error) {
	var found []struct {
		State tenantry.LifeState
		N     int64
	}
	err := t.c.read(ctx, "count resources of tenant "+string(t.id), &found,
		"SELECT state, count(*) AS n FROM resources WHERE tenant = ? GROUP BY state", t.id)
	if err != nil {
		return nil, err
	}
	counts := make(map[tenantry.LifeState]int64, len(found))
	for _, row := range found {
		counts[row.State] = row.N
	}
	return counts, nil
}

// Resource reads one resource. NotFound.
func (t *Tenant) Resource(ctx context.Context, id tenantry.ResourceID) (Resource, error) {
	var found []resourceRow
	op := fmt.Sprintf("read resource %s of tenant %s", id, t.id)
	if err := t.c.read(ctx, op, &found, "SELECT ? FROM resources WHERE tenant = ? AND id = ?", resourceColumns, t.id, id); err != nil {
		return Resource{}, err
	}
	if len(found) == 0 {
		return Resource{}, tenantry.Errorf(tenantry.NotFound, "%s: there is no such resource", op)
	}
	return found[0].resource(split[tenantry.Workload](found[0].Workloads)), nil
}

// SyncLink is the stored delta link of users, groups or sites ("" before the first round).
func (t *Tenant) SyncLink(ctx context.Context, kind tenantry.ResourceKind) (link string, at time.Time, err error) {
	var found []struct {
		Link string
		At   int64
	}
	err = t.c.read(ctx, fmt.Sprintf("read sync link of %s of tenant %s", kind, t.id), &found,
		"SELECT link, at FROM sync_links WHERE tenant = ? AND kind = ?", t.id, kind)
	if err != nil || len(found) == 0 {
		return "", time.Time{}, err
	}
	return found[0].Link, fromMicros(found[0].At), nil
}

// ApplySync stores changed resources and the link that follows them in one transaction,
// and enrols resources that became active in the tenant's policies (and un-enrols inactive
// and gone ones, and workloads that a resource has no longer). Of a resource given twice
// the last counts. StateAt moves only when the state does; zero means now. Invalid: a
// resource without ID or of another kind; NotFound: no such tenant.
func (t *Tenant) ApplySync(ctx context.Context, kind tenantry.ResourceKind, changed []Resource, link string, now time.Time) error {
	op := fmt.Sprintf("apply sync of %s of tenant %s", kind, t.id)
	found, err := t.resourceRows(op, kind, changed, now)
	if err != nil {
		return err
	}
	return t.c.write(ctx, op, func(ctx context.Context, tx bun.Tx) error {
		if err := t.lockEnrolment(ctx, tx, op); err != nil {
			return err
		}
		e, err := t.enroller(ctx, tx, now, nil)
		if err != nil {
			return err
		}
		for chunk := range slices.Chunk(found, batch) {
			if err := upsertResources(ctx, tx, chunk); err != nil {
				return err
			}
			if err := e.enrol(ctx, chunk); err != nil {
				return err
			}
		}
		if err := e.finish(ctx); err != nil {
			return err
		}
		_, err = exec(ctx, tx, `INSERT INTO sync_links (tenant, kind, link, at) VALUES (?, ?, ?, ?)
			ON CONFLICT (tenant, kind) DO UPDATE SET link = excluded.link, at = excluded.at`, t.id, kind, link, micros(now))
		return err
	})
}

// AdoptResources adds resources that nobody has listed, because their backups were found while SQL
// knew nothing of them; one that is there stays as it is. They are in no policy: the next sync says what
// they are. It returns how many were new. Invalid: a resource without ID or kind; NotFound: no such tenant.
func (t *Tenant) AdoptResources(ctx context.Context, found []Resource, now time.Time) (int, error) {
	op := fmt.Sprintf("adopt resources of tenant %s", t.id)
	adopted := 0
	byKind := map[tenantry.ResourceKind][]Resource{}
	for _, r := range found {
		if r.Kind == "" {
			return 0, tenantry.Errorf(tenantry.Invalid, "%s: resource %s has no kind", op, r.ID)
		}
		byKind[r.Kind] = append(byKind[r.Kind], r)
	}
	err := t.c.write(ctx, op, func(ctx context.Context, tx bun.Tx) error {
		adopted = 0
		if err := t.exists(ctx, tx, op); err != nil {
			return err
		}
		for kind, list := range byKind {
			all, err := t.resourceRows(op, kind, list, now)
			if err != nil {
				return err
			}
			for chunk := range slices.Chunk(all, batch) {
				result, err := tx.NewInsert().Model(&chunk).On("CONFLICT (tenant, id) DO NOTHING").Exec(ctx)
				if err != nil {
					return err
				}
				n, err := result.RowsAffected()
				if err != nil {
					return err
				}
				adopted += int(n)
			}
		}
		return nil
	})
	return adopted, err
}

func (t *Tenant) resourceRows(op string, kind tenantry.ResourceKind, changed []Resource, now time.Time) ([]resourceRow, error) {
	out := make([]resourceRow, 0, len(changed))
	at := make(map[tenantry.ResourceID]int, len(changed))
	for _, r := range changed {
		switch {
		case r.ID == "":
			return nil, tenantry.Errorf(tenantry.Invalid, "%s: a resource has no id", op)
		case r.Kind != "" && r.Kind != kind:
			return nil, tenantry.Errorf(tenantry.Invalid, "%s: resource %s is a %s", op, r.ID, r.Kind)
		case r.State != tenantry.Active && r.State != tenantry.Inactive && r.State != tenantry.Gone:
			return nil, tenantry.Errorf(tenantry.Invalid, "%s: resource %s has the state %q", op, r.ID, r.State)
		}
		if r.StateAt.IsZero() {
			r.StateAt = now
		}
		row := resourceRow{
			Tenant: t.id, ID: r.ID, Kind: kind, ObjectID: r.ObjectID, Name: r.Name, Address: r.Address,
			MailboxKind: r.MailboxKind, Subkind: r.Subkind, Dynamic: r.Dynamic, Site: r.Site,
			Licensed: r.Licensed, State: r.State, StateAt: micros(r.StateAt), Workloads: join(r.Workloads),
		}
		if kind == tenantry.User {
			row.Subkind = "" // it has a column of its own
		}
		if i, seen := at[r.ID]; seen {
			out[i] = row
			continue
		}
		at[r.ID] = len(out)
		out = append(out, row)
	}
	return out, nil
}

func upsertResources(ctx context.Context, tx bun.Tx, chunk []resourceRow) error {
	// The statement's table has an alias of its own in bun, "resource_row".
	_, err := tx.NewInsert().Model(&chunk).ModelTableExpr("resources AS old").On("CONFLICT (tenant, id) DO UPDATE").
		Set("kind = excluded.kind, object_id = excluded.object_id, name = excluded.name, address = excluded.address").
		Set("mailbox_kind = excluded.mailbox_kind, licensed = excluded.licensed, workloads = excluded.workloads").
		Set("subkind = excluded.subkind, dynamic = excluded.dynamic, site = excluded.site").
		Set("state_at = CASE WHEN old.state = excluded.state THEN old.state_at ELSE excluded.state_at END").
		Set("state = excluded.state").
		Exec(ctx)
	return err
}
