package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tenantry/tenantry/internal/apiclient"
	"github.com/tenantry/tenantry/internal/graphsim"
)

// demoTenants are the three customers of a demo: about 60 users, 6,000 mails and 600
// files. Northwind is busy: its budget of SharePoint is a twentieth of the documented one,
// which the fleet finds out.
var demoTenants = []graphsim.TenantSpec{
	{Name: "Contoso", Domain: "contoso.example", Users: 26, MailsPerUser: 100, FilesPerUser: 10, Groups: 4, Sites: 3, Unlicensed: 1, NoDrive: 1},
	{Name: "Fabrikam", Domain: "fabrikam.example", Users: 22, MailsPerUser: 100, ContactsPerUser: 6, EventsPerUser: 6, FilesPerUser: 10, Groups: 3, Sites: 2, Shared: 1},
	{Name: "Northwind", Domain: "northwind.example", Users: 14, MailsPerUser: 100, FilesPerUser: 10, Groups: 2, Sites: 1, SharePointPerMinute: 60},
}

func demoCommand() *cobra.Command {
	var (
		keep bool
		dir  string
	)
	command := &cobra.Command{
		Use:   "demo",
		Short: "Show the whole way on this machine: consent, backup, a killed worker, loss, restore, rescue, comparison",
		Long: "Starts everything on embedded defaults (SQLite, an in-process Redis, a folder as bucket, a simulated\n" +
			"Microsoft 365), backs up three tenants, kills the worker in the middle, loses a mailbox folder, a drive\n" +
			"folder and a user, restores them, and holds every restored byte against the simulator's truth. At the end\n" +
			"SQL and Redis are deleted, and a mailbox is rescued from the bucket with the key file alone.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runDemo(cmd.Context(), cmd.OutOrStdout(), dir, keep)
		},
	}
	command.Flags().BoolVar(&keep, "keep", false, "keep serving at the end and print URL and token")
	command.Flags().StringVar(&dir, "dir", "", "folder for the demo's data (default: a temporary one, removed at the end)")
	return command
}

func runDemo(ctx context.Context, out io.Writer, dir string, keep bool) error {
	dir, remove, err := demoFolder(dir)
	if err != nil {
		return err
	}
	d := &demo{view: view{out: out, begun: time.Now()}, keep: keep}
	fmt.Fprintf(out, "Tenantry demo: three simulated Microsoft 365 tenants, everything on this machine\ndata and log in %s\n", dir)
	if d.world, err = startWorld(ctx, dir); err != nil {
		return err
	}
	err = d.run(ctx)
	if err == nil && keep {
		fmt.Fprintf(out, "\nserving until Ctrl-C\n  export TENANTRY_URL=%s TENANTRY_TOKEN=%s\n  documentation %s/docs, queues %s/queues\n",
			d.url, d.token.Reveal(), d.url, d.url)
		<-ctx.Done()
	}
	d.stop()
	if err == nil {
		remove()
		fmt.Fprintf(out, "\ndemo: ok, restored %d of %d items identical\n", d.identical, d.restored)
		return nil
	}
	return fmt.Errorf("demo: %w (data and log are kept in %s)", err, dir)
}

// demoFolder returns the folder of a demo and what removes it if it is temporary.
func demoFolder(dir string) (string, func(), error) {
	if dir != "" {
		return dir, func() {}, os.MkdirAll(dir, 0o700)
	}
	dir, err := os.MkdirTemp("", "tenantry-demo-")
	return dir, func() { _ = os.RemoveAll(dir) }, err
}

// demo is the state of a running demo.
type demo struct {
	view
	*world
	keep      bool // the fleet goes on serving at the end
	tenants   []*protected
	restored  int // items that were restored
	identical int // of these, how many hold exactly what the simulator knows
}

func (d *demo) run(ctx context.Context) error {
	if err := d.startWorker(ctx); err != nil {
		return err
	}
	for _, act := range []func(context.Context) error{
		d.connectTenants, d.compareDirectory, d.addPolicies, d.firstBackup, d.secondBackup, d.loseAndRestore,
	} {
		if err := act(ctx); err != nil {
			return err
		}
	}
	if err := d.rescueMailbox(ctx); err != nil {
		return err
	}
	d.summary()
	return nil
}

func (d *demo) connectTenants(ctx context.Context) error {
	d.step("mail and drives of three tenants are enabled, their administrators consent; each tenant's users, groups and sites are read")
	var expected, seen []string
	for _, spec := range demoTenants {
		p, err := d.add(ctx, d.sim.AddTenant(spec))
		if err != nil {
			return err
		}
		for _, w := range []apiclient.EnableWorkloadParamsWorkload{"mailbox", "drive"} {
			if _, err := d.api.EnableWorkloadWithResponse(ctx, p.Id, w, apiclient.EnableWorkload{}); err != nil {
				return err
			}
		}
		d.tenants = append(d.tenants, p)
		expected = append(expected, spec.Name+" connected")
	}
	for _, p := range d.tenants {
		if err := d.connected(ctx, p); err != nil {
			return err
		}
		if err := d.synced(ctx, p); err != nil {
			return err
		}
		seen = append(seen, p.Name+" "+string(p.State))
	}
	err := d.expect(strings.Join(expected, ", "), strings.Join(seen, ", "))
	d.repeat("%s; %s", command("tenants", "add", "Contoso", "contoso.example"), command("tenants", "consent", d.tenants[0].Id))
	return err
}

// compareDirectory holds what was synced against what the simulator has.
func (d *demo) compareDirectory(ctx context.Context) error {
	d.step("what the directory sync found")
	var expected, seen []string
	for _, p := range d.tenants {
		users, groups, sites := simulatedDirectory(p.sim)
		expected = append(expected, fmt.Sprintf("%s: %d users, %d groups, %d sites", p.Name, users, groups, sites))
		counts := map[apiclient.ResourceKind]int{}
		all, err := d.resources(ctx, p)
		if err != nil {
			return err
		}
		for _, r := range all {
			counts[r.Kind]++
		}
		seen = append(seen, fmt.Sprintf("%s: %d users, %d groups, %d sites", p.Name, counts["user"], counts["group"], counts["site"]))
	}
	err := d.expect(strings.Join(expected, "; "), strings.Join(seen, "; "))
	d.repeat("%s", command("resources", "list", d.tenants[0].Id))
	return err
}

func (d *demo) addPolicies(ctx context.Context) error {
	// Twelve hours from now: what runs in the demo is what the demo starts.
	at := time.Now().UTC().Add(12 * time.Hour).Format("15:04")
	d.step("a policy for each tenant: all users, mailboxes and drives, daily from %s UTC", at)
	for _, p := range d.tenants {
		answer, err := d.api.AddPolicyWithResponse(ctx, p.Id, apiclient.NewPolicy{
			Name: "all users, daily", Activate: true, Schedule: apiclient.Schedule{Kind: apiclient.ScheduleKindWindow, At: at},
		})
		if err != nil {
			return err
		}
		p.policy = answer.JSON201.Id
	}
	err := d.expect("3 policies", fmt.Sprintf("%d policies", len(d.tenants)))
	d.repeat("%s", command("policies", "add", d.tenants[0].Id, "all users, daily", "--at", at, "--activate"))
	return err
}

// firstBackup backs everything up and kills the worker in the middle.
func (d *demo) firstBackup(ctx context.Context) error {
	d.step("first backup; the worker is killed in the middle and another goes on from its checkpoints")
	if err := d.backUpAll(ctx, nil, func() error {
		d.worker.kill()
		return d.startWorker(ctx)
	}); err != nil {
		return err
	}
	d.repeat("%s", command("runs", "start", d.tenants[0].Id, "--policy", d.tenants[0].policy, "--watch"))
	busy := d.tenants[len(d.tenants)-1]
	if n := d.sim.Stats().Tenants[busy.sim.ID()].TotalThrottled(); n > 0 {
		d.note("%s met its limits: Microsoft throttled %d requests, and nothing was lost", busy.Name, n)
		return nil
	}
	return fmt.Errorf("step %d: %s was to meet its limits and did not", d.steps, busy.Name)
}

// secondBackup changes the tenants and backs the changes up.
func (d *demo) secondBackup(ctx context.Context) error {
	d.step("every tenant changes (new, edited, moved and deleted mails and files), and is backed up again")
	changes := map[string]int64{}
	for i, p := range d.tenants {
		n, err := p.sim.Churn(int64(i+1), 200)
		if err != nil {
			return err
		}
		changes[p.Id] = int64(n)
	}
	before := d.requests()
	if err := d.backUpAll(ctx, changes, nil); err != nil {
		return err
	}
	after := d.requests()
	d.repeat("%s", command("runs", "start", d.tenants[0].Id, "--policy", d.tenants[0].policy, "--watch"))
	d.note("an incremental: %d requests to Microsoft 365, %d for the first backup and what led to it", after-before, before)
	return nil
}

// backUpAll runs every tenant's policy and holds the number of items in the newest
// snapshots against the simulator. changes is how many items there are to read, nil for
// all of them.
func (d *demo) backUpAll(ctx context.Context, changes map[string]int64, midway func() error) error {
	expectItems := map[string]int64{}
	for _, p := range d.tenants {
		items, err := simulatedItems(p.sim)
		if err != nil {
			return err
		}
		expectItems[p.Id] = items
	}
	if changes == nil {
		changes = expectItems
	}
	if _, err := d.backup(ctx, d.out, d.tenants, changes, midway); err != nil {
		return err
	}
	var expected, seen []string
	for _, p := range d.tenants {
		expected = append(expected, fmt.Sprintf("%s %d items", p.Name, expectItems[p.Id]))
		items, err := d.itemsInSnapshots(ctx, p)
		if err != nil {
			return err
		}
		seen = append(seen, fmt.Sprintf("%s %d items", p.Name, items))
	}
	return d.expect(strings.Join(expected, ", "), strings.Join(seen, ", "))
}

func (d *demo) summary() {
	stats := d.sim.Stats()
	var requests, throttled int64
	rows := make([][]string, 0, len(d.tenants)+1)
	var total apiclient.Counts
	var resources, series int
	for _, p := range d.tenants {
		s := stats.Tenants[p.sim.ID()]
		rows = append(rows, []string{p.Name, fmt.Sprint(p.resources), fmt.Sprint(p.series), fmt.Sprint(p.counts.Items), byteSize(p.counts.Bytes),
			byteSize(p.counts.Stored), fmt.Sprint(s.TotalRequests()), fmt.Sprint(s.TotalThrottled()), fmt.Sprintf("%.1f", p.took.Seconds())})
		resources += p.resources
		series += p.series
		requests += s.TotalRequests()
		throttled += s.TotalThrottled()
		total.Items += p.counts.Items
		total.Bytes += p.counts.Bytes
		total.Stored += p.counts.Stored
	}
	rows = append(rows, []string{"all", fmt.Sprint(resources), fmt.Sprint(series), fmt.Sprint(total.Items), byteSize(total.Bytes), byteSize(total.Stored),
		fmt.Sprint(requests), fmt.Sprint(throttled), fmt.Sprintf("%.1f", time.Since(d.begun).Seconds())})
	d.table([]string{"tenant", "resources", "workloads", "items", "bytes", "stored", "requests", "throttled", "seconds"}, rows)
}

// requests is how many requests the simulator has answered so far.
func (d *demo) requests() (n int64) {
	for _, t := range d.sim.Stats().Tenants {
		n += t.TotalRequests()
	}
	return n
}
