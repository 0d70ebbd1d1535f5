package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// plan is what is measured.
type plan struct {
	tenants, users, requests, clients int
	megabytes                         int64
}

// Mails and files of each user, and the size of the files that are downloaded.
const (
	mails    = 200
	files    = 20
	fileSize = 32 << 20
)

func (p plan) run(ctx context.Context) (err error) {
	dir, err := os.MkdirTemp("", "bench-graphsim-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	sim, err := startSimulator(ctx, filepath.Join(dir, "graphsim"), p)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sim.stop()) }()
	fmt.Printf("graphsim.start_s %.2f s\n", sim.startTime.Seconds())
	resident, err := sim.resident()
	if err != nil {
		return err
	}
	fmt.Printf("graphsim.rss_mb %.0f MB\n", resident)
	w := &world{sim: sim, http: &http.Client{
		Transport: &http.Transport{MaxIdleConnsPerHost: p.clients, DisableCompression: true},
		// The token must not follow to the host of downloads, which here differs by its port alone.
		CheckRedirect: func(req *http.Request, _ []*http.Request) error { req.Header.Del("Authorization"); return nil },
	}}
	defer w.http.CloseIdleConnections()
	if err := w.measureRequests(ctx, p); err != nil {
		return err
	}
	if err := w.measureContent(ctx, p); err != nil {
		return err
	}
	if resident, err = sim.resident(); err != nil {
		return err
	}
	fmt.Printf("graphsim.rss_after_mb %.0f MB\n", resident)
	fmt.Printf("# %d tenants of %d users; small requests go to the first %d tenants, at no latency, with the documented limits in force.\n",
		p.tenants, p.users, touched)
	return nil
}

// touched is over how many tenants the small requests spread, so that no limit is met.
const touched = 10

// world is the client's side of a simulator.
type world struct {
	sim  *simulator
	http *http.Client
}

// target is one small request.
type target struct{ token, path string }

// measureRequests makes small requests of every kind a backup makes most.
func (w *world) measureRequests(ctx context.Context, p plan) error {
	var targets []target
	for _, tenant := range w.sim.ready.Tenants[:min(touched, p.tenants)] {
		list, err := w.targets(ctx, tenant)
		if err != nil {
			return err
		}
		targets = append(targets, list...)
	}
	ask := func(n int) error {
		for i := range n {
			if err := w.get(ctx, targets[i%len(targets)]); err != nil {
				return err
			}
		}
		return nil
	}
	if err := ask(len(targets)); err != nil { // what is laid out on first use is laid out
		return err
	}
	used, err := w.sim.cpuDuring(func() error {
		return parallel(p.clients, p.requests, func(i int) error { return w.get(ctx, targets[i%len(targets)]) })
	})
	if err != nil {
		return err
	}
	fmt.Printf("graphsim.requests_per_core_s %.0f 1/s\n", float64(p.requests)/used.Seconds())
	return nil
}

// targets returns the small requests to one tenant, of fifty users.
func (w *world) targets(ctx context.Context, tenant string) ([]target, error) {
	token, err := w.token(ctx, tenant)
	if err != nil {
		return nil, err
	}
	var users []struct {
		ID    string `json:"id"`
		Drive string `json:"drive"`
	}
	if err := w.read(ctx, target{path: w.sim.ready.AdminURL + "/_sim/tenants/" + tenant + "/users?top=50"}, &users); err != nil {
		return nil, err
	}
	var list []target
	for _, u := range users[:min(50, len(users))] {
		user := w.sim.ready.URL + "/v1.0/users/" + u.ID
		var inbox struct {
			Value []struct {
				ID string `json:"id"`
			} `json:"value"`
		}
		if err := w.read(ctx, target{token, user + "/mailFolders/inbox/messages?$top=1&$select=id"}, &inbox); err != nil {
			return nil, err
		}
		var latest struct {
			Link string `json:"@odata.deltaLink"`
		}
		if err := w.read(ctx, target{token, user + "/drive/root/delta?token=latest"}, &latest); err != nil {
			return nil, err
		}
		for _, path := range []string{user, user + "/mailFolders/inbox", latest.Link} {
			list = append(list, target{token, path})
		}
		for _, m := range inbox.Value {
			list = append(list, target{token, user + "/messages/" + m.ID})
		}
	}
	return list, nil
}

// measureContent downloads large generated files over and over.
func (w *world) measureContent(ctx context.Context, p plan) error {
	tenant := w.sim.ready.Tenants[0]
	token, err := w.token(ctx, tenant)
	if err != nil {
		return err
	}
	admin := w.sim.ready.AdminURL + "/_sim/tenants/" + tenant
	var users []struct {
		ID string `json:"id"`
	}
	if err := w.read(ctx, target{path: admin + "/users?top=1"}, &users); err != nil {
		return err
	}
	var contents []target
	for seed := range 4 { // text and noise: they are generated differently
		var made struct {
			ID string `json:"id"`
		}
		body, _ := json.Marshal(map[string]any{"op": "putFile", "user": users[0].ID, "path": fmt.Sprintf("large%d.bin", seed), "size": fileSize, "seed": seed + 1})
		if err := w.send(ctx, http.MethodPost, admin+"/mutate", body, &made); err != nil {
			return err
		}
		contents = append(contents, target{token, w.sim.ready.URL + "/v1.0/users/" + users[0].ID + "/drive/items/" + made.ID + "/content"})
	}
	rounds := int(max(1, p.megabytes*1_000_000/fileSize))
	var bytes atomic.Int64
	used, err := w.sim.cpuDuring(func() error {
		return parallel(min(4, p.clients), rounds, func(i int) error {
			n, err := w.drain(ctx, contents[i%len(contents)])
			bytes.Add(n)
			return err
		})
	})
	if err != nil {
		return err
	}
	fmt.Printf("graphsim.content_mb_per_core_s %.0f MB/s\n", float64(bytes.Load())/1e6/used.Seconds())
	return nil
}

// parallel calls do(0..n-1) from several goroutines and returns the first error.
func parallel(workers, n int, do func(i int) error) error {
	var next atomic.Int64
	var running sync.WaitGroup
	errs := make([]error, workers)
	for k := range workers {
		running.Go(func() {
			for i := next.Add(1) - 1; i < int64(n) && errs[k] == nil; i = next.Add(1) - 1 {
				errs[k] = do(int(i))
			}
		})
	}
	running.Wait()
	return errors.Join(errs...)
}

func (w *world) token(ctx context.Context, tenant string) (string, error) {
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {w.sim.ready.ClientID},
		"client_secret": {clientSecret}, "scope": {"https://graph.microsoft.com/.default"}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.sim.ready.URL+"/"+tenant+"/oauth2/v2.0/token", strings.NewReader(form.Encode()))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	var answer struct {
		Token string `json:"access_token"`
	}
	_, err = w.do(req, &answer)
	return answer.Token, err
}

func (w *world) get(ctx context.Context, t target) error {
	_, err := w.drain(ctx, t)
	return err
}

func (w *world) drain(ctx context.Context, t target) (int64, error) {
	req, err := t.request(ctx)
	if err != nil {
		return 0, err
	}
	return w.do(req, nil)
}

func (w *world) read(ctx context.Context, t target, out any) error {
	req, err := t.request(ctx)
	if err != nil {
		return err
	}
	_, err = w.do(req, out)
	return err
}

func (w *world) send(ctx context.Context, method, url string, body []byte, out any) error {
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	_, err = w.do(req, out)
	return err
}

func (t target) request(ctx context.Context) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, t.path, nil)
	if err == nil && t.token != "" {
		req.Header.Set("Authorization", "Bearer "+t.token)
	}
	return req, err
}

// do makes a request that must succeed, and decodes or counts its answer.
func (w *world) do(req *http.Request, out any) (n int64, err error) {
	ctx, cancel := context.WithTimeout(req.Context(), time.Minute)
	defer cancel()
	resp, err := w.http.Do(req.WithContext(ctx))
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 500))
		return 0, fmt.Errorf("%s %s: %s %s", req.Method, req.URL.Path, resp.Status, text)
	}
	if out != nil {
		return 0, json.NewDecoder(resp.Body).Decode(out)
	}
	return io.Copy(io.Discard, resp.Body)
}
