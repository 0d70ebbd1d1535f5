package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tenantry/tenantry/internal/servertest"
)

const (
	cloudClientID = "22222222-bbbb-4bbb-8bbb-222222222222"
	cloudSecret   = "e2e-secret-of-another-cloud"
)

// cloud starts a national cloud beside the fleet's own: another login host and Graph with an application of its own.
// All programs that are started from now on know it, workers alone with its secret. It returns the fleet as seen from
// that cloud: its simulator is the other one.
func (f *fleet) cloud(name string, simArgs ...string) *fleet {
	f.t.Helper()
	addr, admin := servertest.Addr(f.t), servertest.Addr(f.t)
	args := append([]string{"--addr", addr, "--admin", admin, "--cloud", name, "--client-id", cloudClientID, "--client-secret", cloudSecret, "--corpus", ""}, simArgs...)
	spawn(f.t, name, addr, "http://"+admin+"/_sim/stats", nil, "graphsim", args...)
	file := filepath.Join(f.dir, "clouds.yaml")
	text := name + ":\n  client-id: " + cloudClientID + "\n  graph-url: http://" + addr + "\n  login-url: http://" + addr + "\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		f.t.Fatal(err)
	}
	f.env = append(f.env, "TENANTRY_CLOUDS_FILE="+file)
	f.restartAPI()
	there := *f
	there.sim, there.simAdmin = "http://"+addr, "http://"+admin
	return &there
}

// Two clouds: a tenant in each is onboarded, synced, backed up and restored by one fleet, and neither cloud ever meets
// a token, an application or a tenant of the other.
func TestTwoClouds(t *testing.T) {
	world := []string{"--users", "2", "--mails", "4", "--files-per-user", "2", "--groups", "1", "--sites", "1"}
	here := newFleet(t, world...)
	here.refused("POST", "/tenants", map[string]any{"name": "A", "directory": "a.example", "cloud": "china"}, 422, "invalid", "body.cloud")
	there := here.cloud("china", append(world, "--seed", "7", "--tenants", "2")...)
	here.scheduler("scheduler")
	// Each pool's workers have the credential of the cloud that they serve, and no other.
	here.worker("worker", "TENANTRY_SERVES_CLOUDS=global")
	here.must("POST", "/pools", map[string]any{"name": "beijing"}, nil)
	here.worker("beijing", "TENANTRY_POOL=beijing", "TENANTRY_SERVES_CLOUDS=china", "TENANTRY_CLIENT_SECRET=", "TENANTRY_CLOUD_CHINA_CLIENT_SECRET="+cloudSecret)

	home, away := here.add(here.simTenants()[0]), tenant{sim: there.simTenants()[1]}
	here.must("POST", "/tenants", map[string]any{"name": away.sim.Name, "directory": away.sim.Domain, "cloud": "china", "pool": "beijing"}, &away)
	for _, in := range []struct {
		*fleet
		*tenant
	}{{here, &home}, {there, &away}} {
		in.enable(*in.tenant, "mailbox", "drive")
		in.consentAs(*in.tenant, in.tenant.sim.ID, "accept")
		in.awaitState(in.tenant, "connected")
		in.awaitWorkload(*in.tenant, "mailbox", "ready")
		in.awaitWorkload(*in.tenant, "drive", "ready")
		if in.DirectoryID != in.tenant.sim.ID {
			t.Errorf("%s is connected to %s, and is %s", in.Name, in.DirectoryID, in.tenant.sim.ID)
		}
		users := in.resources(*in.tenant, "kind=user&limit=100")
		in.awaitDone(*in.tenant, in.backupOf(*in.tenant, []string{"mailbox", "drive"}, users[0]))
		for _, load := range []string{"mailbox", "drive"} {
			in.complete(*in.tenant, users[0], load, in.latest(*in.tenant, users[0], load).Seq)
		}
		in.restoresToAnother(*in.tenant)
	}
	here.unserved(away)
	says(t, "clouds", here.run("tenantry", "regions", "clouds"), "global", "china", "login.partner.microsoftonline.cn")
	here.refused("PATCH", "/tenants/"+away.ID, map[string]any{"cloud": "global"}, 409, "conflict", "china")
	here.ownBooks(map[string]tenant{clientID: home, cloudClientID: away})
	here.ownTokens(home)
	there.ownTokens(away)
	there.meets(here, home) // what the counters count
}

// unserved holds that workers leave a tenant alone in whose cloud they do not serve, and that an alarm of it says so.
func (f *fleet) unserved(tn tenant) {
	f.t.Helper()
	f.must("PUT", "/tenants/"+tn.ID+"/pool", map[string]any{"pool": "main"}, nil)
	f.must("POST", "/tenants/"+tn.ID+"/refresh", nil, nil)
	eventually(f.t, "an alarm says that nobody serves the tenant", func() (bool, string) {
		var raised page[struct {
			Detail string `json:"detail"`
		}]
		f.must("GET", "/tenants/"+tn.ID+"/alarms", nil, &raised)
		for _, a := range raised.Items {
			if strings.Contains(a.Detail, "serves-clouds") {
				return true, ""
			}
		}
		return false, fmt.Sprint(raised.Items)
	})
}

// ownBooks holds that a tenant's accounts stand in the book of its cloud's application, and in no other.
func (f *fleet) ownBooks(books map[string]tenant) {
	f.t.Helper()
	rdb := redis.NewClient(&redis.Options{Addr: f.redis.Addr})
	defer rdb.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	keys, err := rdb.Keys(ctx, "tenantry:{*").Result()
	if err != nil {
		f.t.Fatal(err)
	}
	own := map[string]int{}
	for _, key := range keys {
		for app, tn := range books {
			if !strings.Contains(key, tn.ID) {
				continue
			}
			if !strings.Contains(key, "{"+app+"}") {
				f.t.Errorf("the account %s of %s is in another application's book", key, tn.Name)
			}
			own[app]++
		}
	}
	for app, tn := range books {
		if own[app] == 0 {
			f.t.Errorf("%s has no account in the book of its application: there are %v", tn.Name, keys)
		}
	}
}

// cloudStats is what a simulator has counted.
type cloudStats struct {
	Refused int64 `json:"refused"` // requests with a token that is none of its own, or with none
	Tenants map[string]struct {
		Tokens   int64            `json:"tokens"`
		Refused  int64            `json:"tokensRefused"`
		Requests map[string]int64 `json:"requests"`
	} `json:"tenants"`
}

// ownTokens holds that a cloud was asked for tokens of its own tenant alone, and met no token of another cloud.
func (f *fleet) ownTokens(own tenant) {
	f.t.Helper()
	var stats cloudStats
	f.simulate("GET", "/stats", nil, &stats)
	if stats.Refused != 0 {
		f.t.Errorf("the cloud of %s has met %d requests without a token of its own", own.Name, stats.Refused)
	}
	for id, n := range stats.Tenants {
		if id != own.sim.ID && id != own.sim.Domain {
			f.t.Errorf("the cloud of %s was asked about the tenant %s: %+v", own.Name, id, n)
		}
	}
	if n := stats.Tenants[own.sim.ID]; n.Tokens == 0 || n.Refused != 0 || n.Requests["outlook"] == 0 || n.Requests["sharepoint"] == 0 {
		f.t.Errorf("the cloud of %s has counted %+v", own.Name, n)
	}
}

// meets holds that the counters count: a token of the other cloud is refused here, and so is its tenant's sign-in.
func (f *fleet) meets(other *fleet, of tenant) {
	f.t.Helper()
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {clientID}, "client_secret": {clientSecret}, "scope": {"https://graph.microsoft.com/.default"}}
	signIn := func(at *fleet) (token string) {
		answer, err := http.PostForm(at.sim+"/"+of.sim.ID+"/oauth2/v2.0/token", form)
		if err != nil {
			f.t.Fatal(err)
		}
		defer answer.Body.Close()
		var got struct {
			Token string `json:"access_token"`
		}
		if err := json.NewDecoder(answer.Body).Decode(&got); err != nil {
			f.t.Fatal(err)
		}
		return got.Token
	}
	token := signIn(other)
	if token == "" || signIn(f) != "" {
		f.t.Fatal("a tenant signs in where it is not, or not where it is")
	}
	if p := f.send(f.sim, token, http.MethodGet, "/v1.0/users/delta", nil, nil); p == nil || p.Status != http.StatusUnauthorized {
		f.t.Errorf("a token of another cloud is answered with %+v", p)
	}
	var stats cloudStats
	f.simulate("GET", "/stats", nil, &stats)
	if stats.Refused != 1 || stats.Tenants[of.sim.ID].Refused != 1 {
		f.t.Errorf("a token and a sign-in of another cloud count as %+v", stats)
	}
}
