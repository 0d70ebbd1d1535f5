package graphsim

import (
	"fmt"
	"net/http"
)

// controlLogin carries out what the control interface asks of a tenant's login: refuse
// tokens with an AADSTS code, or challenge those of clients that declared cp1.
func (t *Tenant) controlLogin(r *http.Request, verb string) (any, error) {
	nothing := map[string]any{}
	switch r.Method + " " + verb {
	case "POST refuse":
		var in struct{ Code, Times int }
		if err := readControl(r, &in); err != nil {
			return nil, err
		}
		return nothing, t.RefuseTokens(in.Code, in.Times)
	case "POST challenge":
		t.Challenge()
		return nothing, nil
	}
	return nil, errNoSuchControl
}

// controlDevice settles a sign-in by device code.
func (s *Server) controlDevice(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Operator
		UserCode string
		Decline  bool
	}
	err := readControl(r, &in)
	switch {
	case r.Method != http.MethodPost:
		err = fmt.Errorf("POST {\"userCode\": ...}")
	case err == nil && in.Decline:
		err = s.DeclineDevice(in.UserCode)
	case err == nil:
		err = s.ApproveDevice(in.UserCode, in.Operator)
	}
	if err != nil {
		writeJSON(w, http.StatusBadRequest, map[string]string{"error": err.Error()})
		return
	}
	w.WriteHeader(http.StatusNoContent)
}
