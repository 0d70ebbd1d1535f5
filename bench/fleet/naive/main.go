// Command naive backs up drives as a fleet without an account book would, for the
// comparison in bench/fleet: each process has a share of the drives, sixteen of them at a
// time, and speaks to Graph through the HTTP client of Microsoft's SDK, whose retry
// handler alone answers to throttling. With -per-second each process also keeps its own
// limiter of SharePoint units per tenant, at the documented rate: right for one process,
// and four times too much for four.
//
// What the SDK gives up is put at the end of the line and goes on where it was, so that
// nothing is asked for twice: kinder than a real tool, whose job fails.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	kiota "github.com/microsoft/kiota-http-go"
	"golang.org/x/time/rate"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	c := &client{token: map[string]string{}, limit: map[string]*rate.Limiter{}}
	c.sdk = kiota.GetDefaultClient(kiota.NewRetryHandler())
	flag.StringVar(&c.root, "url", "", "`URL` of Graph and of the login host")
	flag.StringVar(&c.id, "client-id", "", "application `ID`")
	flag.Float64Var(&c.perSecond, "per-second", 0, "SharePoint units per second and tenant that this process allows itself; 0: no limiter")
	flag.IntVar(&c.burst, "burst", 1, "units at once, with -per-second")
	slots := flag.Int("slots", 16, "drives at a time")
	flag.Parse()
	c.secret = os.Getenv("NAIVE_CLIENT_SECRET")
	if err := c.run(ctx, os.Stdin, *slots); err != nil {
		fmt.Fprintln(os.Stderr, "naive:", err)
		os.Exit(1)
	}
}

// job is one drive, with how far it has come.
type job struct {
	Tenant string `json:"tenant"`
	User   string `json:"user"`

	drive, next string
	listed      bool
	files       []string
}

// run reads jobs as lines of JSON and works until all are done.
func (c *client) run(ctx context.Context, in io.Reader, slots int) error {
	var jobs []*job
	for lines := json.NewDecoder(in); ; {
		j := new(job)
		if err := lines.Decode(j); err == io.EOF {
			break
		} else if err != nil {
			return fmt.Errorf("read jobs: %w", err)
		}
		jobs = append(jobs, j)
	}
	line := make(chan *job, len(jobs)) // each job is in it once at most
	var left, workers sync.WaitGroup
	left.Add(len(jobs))
	for _, j := range jobs {
		line <- j
	}
	for range slots {
		workers.Go(func() {
			for j := range line {
				if c.backup(ctx, j) == nil || ctx.Err() != nil {
					left.Done()
					continue
				}
				line <- j
			}
		})
	}
	left.Wait()
	close(line)
	workers.Wait()
	return ctx.Err()
}

// client speaks to one Graph as one application.
type client struct {
	sdk              *http.Client
	root, id, secret string
	perSecond        float64
	burst            int

	mu    sync.Mutex
	token map[string]string
	limit map[string]*rate.Limiter
}

// backup makes the requests that a drive's backup makes.
func (c *client) backup(ctx context.Context, j *job) error {
	if j.drive == "" {
		var drive struct{ ID string }
		if err := c.get(ctx, j.Tenant, c.root+"/v1.0/users/"+j.User+"/drive?$select=id", 1, &drive); err != nil {
			return err
		}
		j.drive = drive.ID
		j.next = c.root + "/v1.0/drives/" + j.drive + "/items/root/delta"
	}
	for !j.listed {
		if err := c.page(ctx, j); err != nil {
			return err
		}
	}
	for len(j.files) > 0 {
		if err := c.download(ctx, j.Tenant, j.files[0]); err != nil {
			return err
		}
		j.files = j.files[1:]
	}
	return nil
}

func (c *client) page(ctx context.Context, j *job) error {
	var page struct {
		Value []struct {
			File    *struct{}
			Address string `json:"@microsoft.graph.downloadUrl"`
		}
		Next string `json:"@odata.nextLink"`
	}
	units := 2
	if strings.Contains(j.next, "oken=") {
		units = 1
	}
	if err := c.get(ctx, j.Tenant, j.next, units, &page); err != nil {
		return err
	}
	for _, item := range page.Value {
		if item.File != nil {
			j.files = append(j.files, item.Address)
		}
	}
	j.next, j.listed = page.Next, page.Next == ""
	return nil
}

func (c *client) download(ctx context.Context, tenant, address string) error {
	resp, err := c.ask(ctx, tenant, address, 1)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

func (c *client) get(ctx context.Context, tenant, address string, units int, out any) error {
	resp, err := c.ask(ctx, tenant, address, units)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return json.NewDecoder(resp.Body).Decode(out)
}

// ask makes one request by the SDK's client. A refusal that is left after its retries is
// an error.
func (c *client) ask(ctx context.Context, tenant, address string, units int) (*http.Response, error) {
	token, limiter, err := c.tenant(ctx, tenant)
	if err != nil {
		return nil, err
	}
	if limiter != nil {
		if err := limiter.WaitN(ctx, units); err != nil {
			return nil, err
		}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	if strings.HasPrefix(address, c.root+"/") { // the address of a file has its own credential
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := c.sdk.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode >= http.StatusBadRequest {
		_ = resp.Body.Close()
		return nil, fmt.Errorf("%s: %s", req.URL.Path, resp.Status)
	}
	return resp, nil
}

// tenant returns a tenant's token and this process's limiter of it. A token outlives the
// measurement.
func (c *client) tenant(ctx context.Context, tenant string) (string, *rate.Limiter, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if token, ok := c.token[tenant]; ok {
		return token, c.limit[tenant], nil
	}
	form := url.Values{
		"grant_type": {"client_credentials"}, "client_id": {c.id}, "client_secret": {c.secret},
		"scope": {"https://graph.microsoft.com/.default"},
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.root+"/"+tenant+"/oauth2/v2.0/token", strings.NewReader(form.Encode()))
	if err != nil {
		return "", nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", nil, err
	}
	defer resp.Body.Close()
	var answer struct {
		Token string `json:"access_token"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || answer.Token == "" {
		return "", nil, fmt.Errorf("no token for %s: %s: %w", tenant, resp.Status, err)
	}
	c.token[tenant] = answer.Token
	if c.perSecond > 0 {
		c.limit[tenant] = rate.NewLimiter(rate.Limit(c.perSecond), max(c.burst, 2))
	}
	return answer.Token, c.limit[tenant], nil
}
