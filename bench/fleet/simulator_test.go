package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/servertest"
)

// simulator is graphsim as a process of its own.
type simulator struct {
	t     testing.TB
	proc  *process
	url   string
	admin string
	clock float64
	table limits    // as the simulator shows it
	began time.Time // when its clock was at zero: see sync
}

// newSimulator starts graphsim with the given limits, as far as they differ from the
// documented ones.
func newSimulator(t testing.TB, s servers, name string, clock float64, table map[string]any, args ...string) *simulator {
	t.Helper()
	file := filepath.Join(t.TempDir(), "limits.json")
	text, err := json.Marshal(table)
	if err == nil {
		err = os.WriteFile(file, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	addr, admin := servertest.Addr(t), servertest.Addr(t)
	sim := &simulator{t: t, url: "http://" + addr, admin: "http://" + admin, clock: clock}
	sim.proc = spawn(t, name, nil, filepath.Join(s.programs, "graphsim"), append([]string{
		"--addr", addr, "--admin", admin, "--client-id", clientID, "--client-secret", clientSecret, "--corpus", "",
		"--tenants", "0", "--limits", file, "--clock", strconv.FormatFloat(clock, 'f', -1, 64),
	}, args...)...)
	sim.proc.await(sim.admin + "/_sim/stats")
	sim.read("/limits", &sim.table)
	return sim
}

func (s *simulator) read(path string, out any) {
	s.t.Helper()
	if err := request(s.admin+"/_sim"+path, "", http.MethodGet, nil, out); err != nil {
		s.t.Fatal(err)
	}
}

func (s *simulator) write(method, path string, in, out any) {
	s.t.Helper()
	if err := request(s.admin+"/_sim"+path, "", method, in, out); err != nil {
		s.t.Fatal(err)
	}
}

// drain lets all that was drawn so far leave the windows, sets the counts to zero, and
// finds out how the simulator's clock stands.
func (s *simulator) drain() {
	s.t.Helper()
	s.write(http.MethodPost, "/advance", map[string]any{"seconds": 1200}, nil)
	s.write(http.MethodDelete, "/stats", nil, nil)
	s.sync()
	s.write(http.MethodDelete, "/stats", nil, nil)
}

// sync compares the simulator's clock with ours by requests of a tenant of its own. The
// quickest one tells best.
func (s *simulator) sync() {
	s.t.Helper()
	var probe simTenant
	s.write(http.MethodPost, "/tenants", map[string]any{"domain": fmt.Sprintf("probe%d.example", time.Now().UnixNano()), "users": 1, "consent": true}, &probe)
	token, best := s.tokenOf(probe.ID), time.Hour
	for range 10 {
		before := time.Now()
		if err := request(s.url+"/v1.0/organization", token, http.MethodGet, nil, nil); err != nil {
			s.t.Fatal(err)
		}
		took := time.Since(before)
		used := s.accounts("identity.units", probe.ID)
		if took < best && len(used) > 0 {
			best = took
			s.began = before.Add(took / 2).Add(-time.Duration(used[0].Last / s.clock * float64(time.Second)))
		}
	}
}

// at is a time of the simulator's clock as ours.
func (s *simulator) at(seconds float64) time.Time {
	return s.began.Add(time.Duration(seconds / s.clock * float64(time.Second)))
}

// now is our time as the simulator's clock has it, in seconds.
func (s *simulator) now() float64 { return time.Since(s.began).Seconds() * s.clock }

func (s *simulator) tokenOf(tenant string) string {
	s.t.Helper()
	answer, err := http.PostForm(s.url+"/"+tenant+"/oauth2/v2.0/token", url.Values{
		"grant_type": {"client_credentials"}, "client_id": {clientID}, "client_secret": {clientSecret},
		"scope": {"https://graph.microsoft.com/.default"},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	defer answer.Body.Close()
	var token struct {
		Token string `json:"access_token"`
	}
	if err := json.NewDecoder(answer.Body).Decode(&token); err != nil || token.Token == "" {
		s.t.Fatalf("no token of the simulator: %s: %v", answer.Status, err)
	}
	return token.Token
}

// simTenant and simUser are what the simulator has.
type simTenant struct {
	ID     string `json:"id"`
	Name   string `json:"name"`
	Domain string `json:"domain"`
}

type simUser struct {
	ID string `json:"id"`
}

// addTenants makes equal tenants; kind tells those of one measurement from others.
func (s *simulator) addTenants(kind string, n int, spec map[string]any) (list []simTenant) {
	s.t.Helper()
	for i := range n {
		in := map[string]any{"domain": fmt.Sprintf("%s%d.example", kind, i+1), "name": fmt.Sprintf("%s %d", kind, i+1)}
		for k, v := range spec {
			in[k] = v
		}
		var made simTenant
		s.write(http.MethodPost, "/tenants", in, &made)
		list = append(list, made)
	}
	return list
}

// account is how one account of the simulator was used: graphsim.AccountUsage.
type account struct {
	Tenant  string  `json:"tenant"`
	Used    int64   `json:"used"`
	First   float64 `json:"first"`
	Last    float64 `json:"last"`
	Seconds int64   `json:"seconds"`
	Windows []struct {
		Start   int64 `json:"start"`
		Allowed int64 `json:"allowed"`
		Used    int64 `json:"used"`
	} `json:"windows"`
}

func (s *simulator) accounts(kind, tenant string) (list []account) {
	s.t.Helper()
	s.read("/accounts?kind="+kind+"&tenant="+tenant, &list)
	return list
}

// traffic counts the requests of all tenants, and those that were throttled (429, 509).
func (s *simulator) traffic() (requests, throttled int64) {
	s.t.Helper()
	var stats struct {
		Tenants map[string]struct {
			Requests  map[string]int64 `json:"requests"`
			Throttled map[string]int64 `json:"throttled"`
		} `json:"tenants"`
	}
	s.read("/stats", &stats)
	for _, t := range stats.Tenants {
		for _, n := range t.Requests {
			requests += n
		}
		for _, n := range t.Throttled {
			throttled += n
		}
	}
	return requests, throttled
}
