package graphsim

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// serveGraph takes one request of Graph through bearer, route, fault, role,
// limits and handler.
func (s *Server) serveGraph(w http.ResponseWriter, r *http.Request) {
	requestID, clientID := newID(), r.Header.Get("client-request-id")
	if clientID == "" {
		clientID = requestID
	}
	h := w.Header()
	h.Set("request-id", requestID)
	h.Set("client-request-id", clientID)
	h.Set("x-ms-ags-diagnostic", `{"ServerInfo":{"DataCenter":"Simulated","Slice":"E","Ring":"5","ScaleUnit":"001","RoleInstance":"SIM0"}}`)
	if err := s.answer(w, r); err != nil {
		asAPIError(err).write(w, requestID, clientID)
	}
}

func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return fmt.Sprintf("%x-%x-4%x-8%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:16])
}

func (s *Server) answer(w http.ResponseWriter, r *http.Request) error {
	t, roles, err := s.authenticate(r)
	if err != nil {
		s.stats.refused()
		return err
	}
	t.purgeExpired()
	if r.URL.Path == "/v1.0/$batch" {
		return s.serveBatch(w, r, t)
	}
	c, rt, err := s.prepare(w, r, t, roles)
	if err != nil {
		s.stats.request(t.id, "unrouted")
		return err
	}
	s.stats.request(t.id, rt.service.String())
	query := faultQuery{method: r.Method, path: strings.TrimPrefix(r.URL.Path, "/v1.0"), tenant: t.id, call: c}
	if fault := s.faults.take(query); fault != nil {
		if fault.apply(w, r, func(w http.ResponseWriter) { s.rerun(c, rt, w) }) {
			return nil
		}
	}
	return s.run(c, rt)
}

// rerun is run with another writer, for faults that spoil a good answer.
func (s *Server) rerun(c *call, rt *route, w http.ResponseWriter) {
	c.w = w
	if err := s.run(c, rt); err != nil {
		id := w.Header().Get("request-id")
		asAPIError(err).write(w, id, id)
	}
}

// prepare finds the route and resolves what the path abbreviates.
func (s *Server) prepare(w http.ResponseWriter, r *http.Request, t *Tenant, roles []string) (*call, *route, error) {
	tgt, err := parseTarget(strings.TrimPrefix(r.URL.EscapedPath(), "/v1.0/"))
	if err != nil {
		return nil, nil, err
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, nil, fail(http.StatusBadRequest, "BadRequest", "The query string is not well formed.")
	}
	for k, v := range tgt.args {
		query[k] = v
	}
	if tgt.segments, err = t.resolveDrive(tgt.segments); err != nil {
		return nil, nil, err
	}
	rt, params, err := s.routes.find(r.Method, tgt.segments)
	if err != nil {
		return nil, nil, err
	}
	params["@path"] = tgt.path
	c := &call{s: s, t: t, r: r, w: w, query: query, sel: parseSelect(query.Get("$select")), roles: roles,
		canonical: canonical(tgt.segments), params: params}
	return c, rt, nil
}

func (s *Server) run(c *call, rt *route) error {
	// A token without a role is no proof either way for Exchange (its own RBAC may
	// grant access), but a tenant of this simulator knows only consent.
	if !slices.ContainsFunc(rt.roles, func(role string) bool { return slices.Contains(c.roles, role) }) {
		return fail(http.StatusForbidden, "Authorization_RequestDenied", "Insufficient privileges to complete the operation.")
	}
	release, err := s.limits.admit(c, rt)
	if err != nil {
		s.stats.throttled(c.t.id, rt.service.String())
		return err
	}
	defer release()
	if !s.delay(c.r) {
		return nil
	}
	return rt.handle(c)
}

// delay lets the request take its time; false means that the client went away.
func (s *Server) delay(r *http.Request) bool {
	if s.o.Latency <= 0 {
		return true
	}
	timer := time.NewTimer(s.o.Latency)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-r.Context().Done():
		return false
	}
}
