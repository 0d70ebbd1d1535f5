package graphsim

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// maxControlBody bounds a request of the control interface.
const maxControlBody = 64 << 20

// serveControl is the control interface (package doc).
func (s *Server) serveControl(w http.ResponseWriter, r *http.Request) {
	path, ok := strings.CutPrefix(r.URL.EscapedPath(), "/_sim/")
	if !ok {
		http.NotFound(w, r)
		return
	}
	parts := strings.Split(strings.Trim(path, "/"), "/")
	r.Body = http.MaxBytesReader(w, r.Body, maxControlBody)
	switch area := parts[0]; area {
	case "tenants":
		s.controlTenants(w, r, parts[1:])
	case "truth":
		s.controlTruth(w, r, parts[1:])
	case "moments":
		s.controlMoments(w, r)
	case "faults":
		s.controlFaults(w, r, parts[1:])
	case "device":
		s.controlDevice(w, r)
	case "advance":
		s.controlClock(w, r)
	case "limits":
		writeJSON(w, http.StatusOK, s.limits.table)
	case "accounts":
		s.controlAccounts(w, r)
	case "uploads":
		if r.Method == http.MethodDelete {
			s.EndUploads()
		}
		writeJSON(w, http.StatusOK, s.OpenUploads())
	case "stats":
		if r.Method == http.MethodDelete {
			s.ResetStats()
		}
		writeJSON(w, http.StatusOK, s.Stats())
	default:
		http.NotFound(w, r)
	}
}

func (s *Server) controlClock(w http.ResponseWriter, r *http.Request) {
	var in struct{ Seconds float64 }
	if err := readControl(r, &in); err != nil || r.Method != http.MethodPost {
		http.Error(w, "POST {\"seconds\": n}", http.StatusBadRequest)
		return
	}
	s.Advance(time.Duration(in.Seconds * float64(time.Second)))
	w.WriteHeader(http.StatusNoContent)
}

// TenantInfo is a tenant as the control interface shows it.
type TenantInfo struct {
	ID        string `json:"id"`
	Name      string `json:"name"`
	Domain    string `json:"domain"`
	Consented bool   `json:"consented"`
}

func (t *Tenant) info() TenantInfo {
	return TenantInfo{ID: t.id, Name: t.spec.Name, Domain: t.spec.Domain, Consented: t.Consented()}
}

func (s *Server) controlTenants(w http.ResponseWriter, r *http.Request, rest []string) {
	if len(rest) == 0 {
		s.controlAllTenants(w, r)
		return
	}
	t := s.Tenant(rest[0])
	if t == nil || len(rest) > 2 {
		http.NotFound(w, r)
		return
	}
	if len(rest) == 1 {
		writeJSON(w, http.StatusOK, t.info())
		return
	}
	answer, err := t.control(r, rest[1])
	switch {
	case errors.Is(err, errNoSuchControl):
		http.NotFound(w, r)
	case err != nil:
		writeJSON(w, http.StatusBadRequest, map[string]string{"error": err.Error()})
	default:
		writeJSON(w, http.StatusOK, answer)
	}
}

func (s *Server) controlAllTenants(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPost {
		var in struct {
			TenantSpec
			Consent bool `json:"consent"`
		}
		err := readControl(r, &in)
		if err == nil {
			err = in.Check()
		}
		if err == nil && (s.Tenant(in.Domain) != nil || s.Tenant(in.ID) != nil) {
			err = fmt.Errorf("domain %q or id %q: there is such a tenant", in.Domain, in.ID)
		}
		if err != nil {
			writeJSON(w, http.StatusBadRequest, map[string]string{"error": err.Error()})
			return
		}
		t := s.AddTenant(in.TenantSpec)
		if in.Consent {
			t.Consent()
		}
		writeJSON(w, http.StatusCreated, t.info())
		return
	}
	list := []TenantInfo{}
	for _, t := range s.Tenants() {
		list = append(list, t.info())
	}
	writeJSON(w, http.StatusOK, list)
}

var errNoSuchControl = errors.New("no such control")

// control carries out one request on a tenant and returns what to answer.
func (t *Tenant) control(r *http.Request, verb string) (any, error) {
	nothing := map[string]any{}
	switch r.Method + " " + verb {
	case "GET users":
		return t.Users(), nil
	case "GET groups":
		return t.Groups(), nil
	case "GET applications":
		return t.Applications(), nil
	case "GET sites":
		return t.Sites(), nil
	case "POST consent":
		var in struct{ Roles []string }
		err := readControl(r, &in)
		if err == nil {
			t.Consent(in.Roles...)
		}
		return nothing, err
	case "POST revoke":
		var in struct{ Tokens bool }
		if err := readControl(r, &in); err != nil {
			return nil, err
		}
		t.Revoke()
		if in.Tokens {
			t.RevokeTokens()
		}
		return nothing, nil
	case "POST expire":
		t.ExpireDelta()
		return nothing, nil
	case "POST mutate":
		var in Mutation
		if err := readControl(r, &in); err != nil {
			return nil, err
		}
		id, err := t.Apply(in)
		return map[string]string{"id": id}, err
	case "GET script":
		return t.Script(), nil
	case "POST script":
		var in ScriptSpec
		if err := readControl(r, &in); err != nil {
			return nil, err
		}
		return nothing, t.StartScript(in)
	case "DELETE script":
		t.StopScript()
		return t.Script(), nil
	case "POST churn":
		var in struct {
			Seed int64
			N    int
		}
		if err := readControl(r, &in); err != nil {
			return nil, err
		}
		changed, err := t.Churn(in.Seed, in.N)
		return map[string]int{"changed": changed}, err
	}
	return t.controlLogin(r, verb)
}

// readControl reads a JSON body; none at all is the zero value.
func readControl(r *http.Request, v any) error {
	err := json.NewDecoder(r.Body).Decode(v)
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// controlTruth serves /_sim/truth/{t}/users|groups|sites|drives/{id}/mail|drive|folders, as
// it is now or, with ?at=, as it was at a moment that was kept.
func (s *Server) controlTruth(w http.ResponseWriter, r *http.Request, rest []string) {
	t, owner, ok := s.truthPath(rest)
	switch at := r.URL.Query().Get("at"); {
	case !ok:
		http.NotFound(w, r)
	case at != "":
		s.serveMoment(w, r, at, t, rest[1], owner, rest[3])
	default:
		s.answerTruth(w, r, t, owner, rest[3])
	}
}

// answerTruth writes one kind of truth of an owner.
func (s *Server) answerTruth(w http.ResponseWriter, r *http.Request, t *Tenant, owner, kind string) {
	switch kind {
	case "mail":
		writeLines(w, r, t.MailTruth, owner)
	case "folders":
		writeLines(w, r, t.FolderTruth, owner)
	default:
		if !t.exchangeTruth(w, r, owner, kind) && !t.sharePointTruth(w, r, owner, kind) {
			http.NotFound(w, r)
		}
	}
}

func writeLines[T any](w http.ResponseWriter, r *http.Request, truth func(string) ([]T, error), owner string) {
	list, err := truth(owner)
	if err != nil {
		writeJSON(w, http.StatusNotFound, map[string]string{"error": err.Error()})
		return
	}
	w.Header().Set("Content-Type", "application/jsonl")
	enc := json.NewEncoder(w)
	for _, v := range list {
		if enc.Encode(v) != nil || r.Context().Err() != nil {
			return // the client has gone
		}
	}
}

func (s *Server) controlFaults(w http.ResponseWriter, r *http.Request, rest []string) {
	switch r.Method {
	case http.MethodPost:
		var f Fault
		err := readControl(r, &f)
		id := ""
		if err == nil {
			id, err = s.Inject(f)
		}
		if err != nil {
			writeJSON(w, http.StatusBadRequest, map[string]string{"error": err.Error()})
			return
		}
		writeJSON(w, http.StatusCreated, map[string]string{"id": id})
	case http.MethodDelete:
		s.Clear(strings.Join(rest, ""))
		w.WriteHeader(http.StatusNoContent)
	default:
		writeJSON(w, http.StatusOK, s.Faults())
	}
}
