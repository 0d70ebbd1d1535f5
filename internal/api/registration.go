package api

import (
	"cmp"
	"context"
	"net/http"
	"strings"
	"time"
	"unicode"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// applicationName is what an application is called in a customer's tenant unless somebody names it.
const applicationName = "Tenantry backup"

// Registration is the registration of an application in a customer's tenant by device code.
type Registration struct {
	State   tenantry.RegistrationState `json:"state" enum:"asking,waiting,signed_in,registered,certified,granted,done,failed,undoing,undone"`
	Name    string                     `json:"name" doc:"Of the application, as the customer sees it"`
	Restore bool                       `json:"restore" doc:"It gets the permissions to write"`
	Code    string                     `json:"code,omitempty" doc:"In the state waiting: an administrator of the tenant enters it"`
	Page    string                     `json:"page,omitempty" doc:"On this page"`
	Expires *time.Time                 `json:"expires,omitempty" doc:"Of the code, then of the sign-in"`
	Client  string                     `json:"client_id,omitempty" doc:"The application, once it is registered"`
	Started *time.Time                 `json:"started,omitempty"`
	By      string                     `json:"started_by,omitempty"`
	StateAt *time.Time                 `json:"state_at,omitempty"`
	Reason  string                     `json:"reason,omitempty" doc:"Why it failed, or what could not be undone"`
	Remedy  string                     `json:"remedy,omitempty" doc:"What a person can do about it"`
}

func registrationOf(r catalog.Registration) Registration {
	return Registration{
		State: r.State, Name: r.Name, Restore: r.Restore, Code: r.UserCode, Page: r.VerifyAt, Expires: when(r.ExpiresAt), Client: r.ClientID,
		Started: when(r.StartedAt), By: r.StartedBy, StateAt: when(r.StateAt), Reason: r.Reason, Remedy: r.Remedy,
	}
}

// NewRegistration asks for a registration.
type NewRegistration struct {
	Name    string `json:"name,omitempty" maxLength:"120" example:"Our backup" doc:"Of the application, as the customer sees it; absent: the tenant's default"`
	Restore bool   `json:"restore,omitempty" doc:"With the permissions to write, for restores"`
}

type startRegistrationInput struct {
	TenantPath
	Body *NewRegistration
}

func (in *startRegistrationInput) asked() NewRegistration {
	if in.Body == nil {
		return NewRegistration{}
	}
	return *in.Body
}

func (in *startRegistrationInput) audit() (tenantry.TenantID, any) { return in.Tenant, in.asked() }

type cancelRegistrationInput struct{ TenantPath }

func (in *cancelRegistrationInput) audit() (tenantry.TenantID, any) { return in.Tenant, nil }

func (s *service) registrationRoutes() {
	const tag, path = "tenants", "/v1/tenants/{tenant}/registration"
	write(s, post(http.StatusCreated, "start-registration", tag, path,
		"Register an application in the customer's tenant by device code: an administrator signs in, and the sign-in is dropped again"), s.startRegistration)
	read(s, get("get-registration", tag, path, "Show how far the registration is, and the code to enter"), s.getRegistration)
	write(s, post(http.StatusOK, "cancel-registration", tag, path+"/cancel", "Give the registration up, and delete what it made"), s.cancelRegistration)
}

func (s *service) startRegistration(ctx context.Context, in *startRegistrationInput) (*created[Registration], error) {
	t, row, err := s.tenant(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	ask := in.asked()
	name := strings.TrimSpace(cmp.Or(ask.Name, row.ApplicationName, applicationName))
	if name == "" || strings.ContainsFunc(name, unicode.IsControl) {
		return nil, invalid("body.name", ask.Name, "must be a name without control characters")
	}
	now := s.Now()
	r := catalog.Registration{
		State: tenantry.RegAsking, Name: name, Restore: ask.Restore, StartedBy: callerOf(ctx).key(), StartedAt: now, StateAt: now,
	}
	if err := t.StartRegistration(ctx, r); err != nil {
		if tenantry.KindOf(err) == tenantry.Conflict {
			err = tenantry.Errorf(tenantry.Conflict, "a registration in tenant %q is under way: go on with it, or cancel it", row.Name)
		}
		return nil, err
	}
	if err := s.goOn(ctx, t); err != nil {
		return nil, err
	}
	return &created[Registration]{"/v1/tenants/" + string(in.Tenant) + "/registration", registrationOf(r)}, nil
}

// goOn starts the task that carries a registration.
func (s *service) goOn(ctx context.Context, t *catalog.Tenant) error {
	_, err := s.start(ctx, t, tenantry.Connect, "", []catalog.NewTask{{Action: tenantry.Connect, Params: []byte(`{"directory":"","register":true}`)}})
	return err
}

func (s *service) getRegistration(ctx context.Context, in *tenantInput) (*body[Registration], error) {
	_, r, err := s.registration(ctx, in.Tenant)
	return &body[Registration]{registrationOf(r)}, err
}

func (s *service) registration(ctx context.Context, id tenantry.TenantID) (*catalog.Tenant, catalog.Registration, error) {
	t, row, err := s.tenant(ctx, id)
	if err != nil {
		return nil, catalog.Registration{}, err
	}
	r, err := t.Registration(ctx)
	if tenantry.KindOf(err) == tenantry.NotFound {
		err = tenantry.Errorf(tenantry.NotFound, "nobody has asked for a registration in tenant %q", row.Name)
	}
	return t, r, err
}

// cancelRegistration has a worker undo it; one that failed can be undone as well.
func (s *service) cancelRegistration(ctx context.Context, in *cancelRegistrationInput) (*body[Registration], error) {
	t, r, err := s.registration(ctx, in.Tenant)
	if err != nil {
		return nil, err
	}
	from := r.State
	switch from {
	case tenantry.RegDone:
		return nil, tenantry.Errorf(tenantry.Conflict, "the registration is done: remove its credential, and have the customer delete the application")
	case tenantry.RegUndone, tenantry.RegUndoing:
		return &body[Registration]{registrationOf(r)}, nil
	}
	r.State, r.StateAt = tenantry.RegUndoing, s.Now()
	if err := t.MoveRegistration(ctx, from, r); err != nil {
		return nil, err
	}
	return &body[Registration]{registrationOf(r)}, s.goOn(ctx, t)
}
