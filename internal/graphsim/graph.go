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
		refused := asAPIError(err)
		if refused.probe {
			if throttled := s.limits.probed(s, r, 1); throttled != nil {
				refused = throttled
			}
		}
		refused.write(w, requestID, clientID)
	}
}

func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

func (s *Server) answer(w http.ResponseWriter, r *http.Request) error {
	t, claims, err := s.authenticate(r)
	if err != nil {
		s.stats.refused()
		return err
	}
	t.purgeExpired()
	if version, path := versionOf(r.URL.Path); path == "$batch" {
		serve := func(w http.ResponseWriter) { s.answerBatch(w, r, t, version) }
		if fault := s.faults.take(faultQuery{method: r.Method, path: "/$batch", tenant: t.id}); fault == nil || !fault.apply(w, r, serve) {
			serve(w)
		}
		return nil
	}
	c, rt, err := s.prepare(w, r, t, claims)
	if err != nil {
		s.stats.request(t.id, "unrouted")
		if throttled := s.limits.admitUnserved(unserved(s, w, r, t, claims)); throttled != nil {
			s.stats.throttled(t.id, "unrouted")
			return throttled
		}
		return err
	}
	s.stats.request(t.id, rt.service.String())
	query := faultQuery{method: r.Method, path: "/" + c.path, tenant: t.id, call: c}
	if fault := s.faults.take(query); fault != nil {
		if fault.apply(w, r, func(w http.ResponseWriter) { s.rerun(c, rt, w) }) {
			return nil
		}
	}
	return s.run(c, rt)
}

// answerBatch answers $batch, its errors included.
func (s *Server) answerBatch(w http.ResponseWriter, r *http.Request, t *Tenant, version string) {
	if err := s.serveBatch(w, r, t, version); err != nil {
		id := w.Header().Get("request-id")
		asAPIError(err).write(w, id, id)
	}
}

// rerun is run with another writer, for faults that spoil a good answer.
func (s *Server) rerun(c *call, rt *route, w http.ResponseWriter) {
	c.w = w
	if err := s.run(c, rt); err != nil {
		id := w.Header().Get("request-id")
		asAPIError(err).write(w, id, id)
	}
}

// versionOf splits a path into the version of the API and what is below it.
func versionOf(path string) (version, rest string) {
	version, rest, _ = strings.Cut(strings.TrimPrefix(path, "/"), "/")
	return version, rest
}

// prepare finds the route, resolves what the path abbreviates, and reads the options.
func (s *Server) prepare(w http.ResponseWriter, r *http.Request, t *Tenant, claims *accessClaims) (*call, *route, error) {
	version, path := versionOf(r.URL.EscapedPath())
	tgt, err := parseTarget(path)
	if err != nil {
		return nil, nil, err
	}
	// A semicolon stands between the options of an expanded property.
	query, err := url.ParseQuery(strings.ReplaceAll(r.URL.RawQuery, ";", "%3B"))
	if err != nil {
		return nil, nil, fail(http.StatusBadRequest, "BadRequest", "The query string is not well formed.")
	}
	if query, err = normalized(query); err != nil {
		return nil, nil, err
	}
	for k, v := range tgt.args {
		query[k] = v
	}
	if tgt.segments, err = t.resolveDrive(tgt.segments); err != nil {
		return nil, nil, err
	}
	rt, params, err := s.routes.find(version, r.Method, tgt.segments)
	if err != nil {
		return nil, nil, err
	}
	params["@path"] = tgt.path
	if id := params["mailbox"]; id != "" {
		params["user"] = t.mailboxOwner(id)
	}
	_, plain := versionOf(r.URL.Path)
	c := &call{s: s, t: t, r: r, w: w, rt: rt, query: query, roles: claims.permissions(), app: claims.AppID, delegated: claims.Scopes != "", user: claims.User, version: version,
		path: plain, canonical: canonical(tgt.segments), params: params}
	return c, rt, nil
}

// unserved is as much of a call as the limits need for a path without a route.
func unserved(s *Server, w http.ResponseWriter, r *http.Request, t *Tenant, claims *accessClaims) *call {
	_, path := versionOf(r.URL.Path)
	return &call{s: s, t: t, r: r, w: w, app: claims.AppID, user: claims.User, query: r.URL.Query(), canonical: strings.Trim(path, "/")}
}

func (s *Server) run(c *call, rt *route) error {
	// A token without a role is no proof either way for Exchange (its own RBAC may
	// grant access), but a tenant of this simulator knows only consent.
	allowed := len(rt.roles) == 0 || slices.ContainsFunc(rt.roles, func(role string) bool { return slices.Contains(c.roles, role) })
	if !allowed || c.delegated && rt.appOnly {
		return requestDenied()
	}
	if err := c.parseOptions(rt); err != nil {
		return err
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
