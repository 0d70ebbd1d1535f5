package api

import (
	"context"
	"net/http"
	"time"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// Gateway is the door for workers outside of the provider's network. It is served under /gateway/, behind which it
// authenticates by itself: no token of the API is good for anything there, and no worker's credential here.
type Gateway interface {
	http.Handler
	// Known reports whether a request comes with the credential of a worker: others may knock as seldom as strangers may.
	Known(r *http.Request) bool
	// Revoked takes from a worker, which the catalog knows to be revoked, what it has elsewhere: its accounts at Postgres
	// and Redis, and its open connections. Those through other api processes end within two seconds.
	Revoked(ctx context.Context, w catalog.RemoteWorker) error
	// HandsTokens reports whether it has the provider's credential for a cloud ("": the fleet's own), and so hands tokens to
	// workers outside. Asked with every look at a single tenant whose pool has such workers.
	HandsTokens(ctx context.Context, cloud string) (bool, error)
}

// enrolmentPrefix lets secret scanners recognise a leaked token.
const enrolmentPrefix = "tenantry_enrol_"

// Enrolment is what is known of a one-time token by which a worker joins a pool. The token itself is shown once.
type Enrolment struct {
	ID      string     `json:"id"`
	Pool    string     `json:"pool" example:"munich"`
	State   string     `json:"state" enum:"open,used,expired,revoked"`
	MadeBy  string     `json:"made_by" doc:"Name of the token that made it"`
	Made    *time.Time `json:"made,omitempty"`
	Expires *time.Time `json:"expires,omitempty"`
	Used    *time.Time `json:"used,omitempty"`
	UsedBy  string     `json:"used_by,omitempty" doc:"The machine, as it named itself"`
	Worker  string     `json:"worker,omitempty" doc:"ID of the worker that joined by it"`
}

func enrolmentOf(e catalog.Enrolment, now time.Time) Enrolment {
	state := "open"
	switch {
	case !e.UsedAt.IsZero():
		state = "used"
	case !e.RevokedAt.IsZero():
		state = "revoked"
	case !now.Before(e.ExpiresAt):
		state = "expired"
	}
	return Enrolment{ID: e.ID, Pool: e.Pool, State: state, MadeBy: e.MadeBy, Made: when(e.MadeAt), Expires: when(e.ExpiresAt),
		Used: when(e.UsedAt), UsedBy: e.UsedBy, Worker: e.Worker}
}

// FreshEnrolment is a token that was just made.
type FreshEnrolment struct {
	Enrolment
	Secret string `json:"token" doc:"The token: it is shown this once" example:"tenantry_enrol_..."`
}

// NewEnrolment asks for a token.
type NewEnrolment struct {
	Hours int `json:"hours,omitempty" minimum:"1" maximum:"168" default:"24" example:"24" doc:"For how long it can be used"`
}

// PoolPath names a pool in the path.
type PoolPath struct {
	Pool string `path:"pool" maxLength:"40" doc:"Name of the pool"`
}

type addEnrolmentInput struct {
	PoolPath
	Body NewEnrolment
}

func (in *addEnrolmentInput) audit() (tenantry.TenantID, any) { return "", in }

type listEnrolmentsInput struct{ PoolPath }

type revokeEnrolmentInput struct {
	PoolPath
	Enrolment string `path:"enrolment" maxLength:"64" doc:"ID of the token"`
}

func (in *revokeEnrolmentInput) audit() (tenantry.TenantID, any) { return "", in }

// Worker is a worker that joined by a one-time token.
type Worker struct {
	ID        string     `json:"id" example:"w-0123456789abcdef"`
	Pool      string     `json:"pool" example:"munich"`
	Name      string     `json:"name" doc:"The machine, as it named itself"`
	State     string     `json:"state" enum:"working,silent,revoked" doc:"working: it has a lease in force"`
	Version   string     `json:"version,omitempty" doc:"Of its program, when it last began to work"`
	Enrolled  *time.Time `json:"enrolled,omitempty"`
	Rotated   *time.Time `json:"rotated,omitempty" doc:"When its credential was new"`
	Seen      *time.Time `json:"seen,omitempty" doc:"When it last began to work"`
	Revoked   *time.Time `json:"revoked,omitempty"`
	RevokedBy string     `json:"revoked_by,omitempty"`
}

func workerOf(w catalog.RemoteWorker) Worker {
	state := "silent"
	switch {
	case !w.RevokedAt.IsZero():
		state = "revoked"
	case w.Live:
		state = "working"
	}
	return Worker{ID: w.ID, Pool: w.Pool, Name: w.Name, State: state, Version: w.Version, Enrolled: when(w.EnrolledAt), Rotated: when(w.RotatedAt),
		Seen: when(w.SeenAt), Revoked: when(w.RevokedAt), RevokedBy: w.RevokedBy}
}

type listWorkersInput struct{}

type revokeWorkerInput struct {
	Worker string `path:"worker" maxLength:"64" doc:"ID of the worker"`
}

func (in *revokeWorkerInput) audit() (tenantry.TenantID, any) { return "", in.Worker }

func (s *service) enrolmentRoutes() {
	const tag, all = "fleet", "/v1/pools/{pool}/enrolments"
	write(s, post(http.StatusCreated, "add-enrolment", tag, all, "Make a one-time token by which a worker outside joins the pool"), s.addEnrolment)
	read(s, get("list-enrolments", tag, all, "List the tokens of a pool, those that are over for 90 days too"), s.listEnrolments)
	write(s, remove("revoke-enrolment", tag, all+"/{enrolment}", "Revoke a token that was not used"), s.revokeEnrolment)
	read(s, get("list-workers", tag, "/v1/workers", "List the workers that joined by a token, revoked ones too"), s.listWorkers)
	write(s, remove("revoke-worker", tag, "/v1/workers/{worker}", "Revoke a worker: it gets no more work, and others take what it has"), s.revokeWorker)
}

func (s *service) addEnrolment(ctx context.Context, in *addEnrolmentInput) (*created[FreshEnrolment], error) {
	if s.Gateway == nil {
		e := tenantry.Errorf(tenantry.Conflict, "workers outside need a fleet on Postgres, which this installation is not")
		e.Code = string(codeNeedsPostgres)
		return nil, e
	}
	now := s.Now()
	e := catalog.Enrolment{ID: "e-" + randomHex(8), Pool: in.Pool, MadeBy: callerOf(ctx).key(), MadeAt: now, ExpiresAt: now.Add(time.Duration(in.Body.Hours) * time.Hour)}
	token := enrolmentPrefix + randomText()
	if err := s.Catalog.Fleet().AddEnrolment(ctx, e, HashToken(token)); err != nil {
		return nil, err
	}
	return &created[FreshEnrolment]{"/v1/pools/" + e.Pool + "/enrolments/" + e.ID, FreshEnrolment{enrolmentOf(e, now), token}}, nil
}

func (s *service) listEnrolments(ctx context.Context, in *listEnrolmentsInput) (*body[Page[Enrolment]], error) {
	rows, err := s.Catalog.Fleet().Enrolments(ctx, in.Pool)
	if err != nil {
		return nil, err
	}
	return paged(rows, len(rows), func(e catalog.Enrolment) Enrolment { return enrolmentOf(e, s.Now()) }, nil), nil
}

func (s *service) revokeEnrolment(ctx context.Context, in *revokeEnrolmentInput) (*struct{}, error) {
	return nil, s.Catalog.Fleet().RevokeEnrolment(ctx, in.Pool, in.Enrolment, s.Now())
}

func (s *service) listWorkers(ctx context.Context, _ *listWorkersInput) (*body[Page[Worker]], error) {
	rows, err := s.Catalog.Fleet().RemoteWorkers(ctx)
	if err != nil {
		return nil, err
	}
	return paged(rows, len(rows), workerOf, nil), nil
}

// revokeWorker revokes it in the catalog first: from then on the database shows it nothing, whatever else fails. Asked again, it does
// again what is left to do.
func (s *service) revokeWorker(ctx context.Context, in *revokeWorkerInput) (*struct{}, error) {
	fleet := s.Catalog.Fleet()
	if err := fleet.RevokeWorker(ctx, in.Worker, callerOf(ctx).key(), s.Now()); err != nil {
		return nil, err
	}
	s.wake(ctx) // what it ran is for others
	if s.Gateway == nil {
		return nil, nil
	}
	w, err := fleet.RemoteWorker(ctx, in.Worker)
	if err != nil {
		return nil, err
	}
	return nil, s.Gateway.Revoked(ctx, w)
}
