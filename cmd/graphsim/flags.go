package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/pflag"

	"github.com/tenantry/tenantry/internal/graphsim"
)

// flags is the command line.
type flags struct {
	options     graphsim.Options
	certificate string
	caOut       string
	limits      string
	world       graphsim.World
	consent     bool
}

// announcement is the line printed when the simulator serves.
type announcement struct {
	URL      string   `json:"url"`
	FilesURL string   `json:"filesUrl"`
	AdminURL string   `json:"adminUrl"`
	ProxyURL string   `json:"proxyUrl,omitempty"`
	ClientID string   `json:"clientId"`
	Tenants  []string `json:"tenants"`
}

func (f *flags) register(set *pflag.FlagSet) {
	o, t := &f.options, &f.world.Tenant
	set.StringVar(&o.Addr, "addr", "127.0.0.1:8365", "address of login and Graph")
	set.StringVar(&o.FilesAddr, "files-addr", "", "address of download and upload URLs (default: a free port)")
	set.StringVar(&o.AdminAddr, "admin", "", "loopback address of the control interface (default: a free port)")
	set.StringVar(&o.ProxyAddr, "connect-proxy", "", "loopback address of a proxy that answers as Microsoft's hosts (default: none)")
	set.StringVar(&f.caOut, "ca-out", "", "file to write the certificate to that clients of the proxy have to trust")
	set.StringVar(&o.ClientID, "client-id", graphsim.DefaultClientID, "client ID of the registered application")
	set.StringVar(&o.Secret, "client-secret", graphsim.DefaultSecret, "secret of the registered application")
	set.StringVar(&f.certificate, "certificate", "", "PEM file with certificates of the application")
	set.StringVar(&o.RedirectURI, "redirect-uri", "", "registered redirect URI (default: any loopback address)")
	set.BoolVar(&o.Lenient, "lenient", false, "allow what clients get away with in the field against the documentation, as the proxy always does")
	set.BoolVar(&o.StrictProxy, "strict-proxy", false, "hold what comes through the proxy to the documentation, too (rclone then fails)")
	set.StringVar((*string)(&o.Cloud), "cloud", "", "national cloud: usgov, china, usnat, ussec, bleu or delos (default: the global one)")
	set.StringVar(&f.limits, "limits", "", "JSON file with limits that differ from the documented ones")
	set.Float64Var(&o.Clock, "clock", 1, "how many times faster limits and links age")
	set.DurationVar(&o.TokenLife, "token-life", 0, "life of access tokens (default 60 to 90 minutes, 28 hours for clients that can be challenged)")
	set.DurationVar(&o.ConsentDelay, "consent-delay", 0, "how long the login host does not know of a consent")
	set.DurationVar(&o.RegistrationDelay, "registration-delay", 0, "how long a new application is not found")
	set.DurationVar(&o.Retention.Sites, "site-retention", 0, "how long a deleted site can be read (default 93 days)")
	set.DurationVar(&o.Retention.Users, "user-retention", 0, "how long deleted users can be restored (default 30 days)")
	set.DurationVar(&o.Retention.Groups, "group-retention", 0, "how long deleted groups can be restored (default 30 days)")
	set.DurationVar(&o.LinkLife, "link-life", 0, "life of download URLs (default 5m)")
	set.DurationVar(&o.Latency, "latency", 0, "least time a Graph request takes")
	set.IntVar(&o.PageSize, "page-size", 0, "bound of every page (default: as documented)")
	set.Int64Var(&o.Seed, "seed", 1, "seed of everything generated")
	set.StringVar(&o.Corpus, "corpus", os.Getenv("TENANTRY_CORPUS"), "folder with mail, contacts and calendar to serve (default: $TENANTRY_CORPUS)")
	set.StringVar(&o.Files, "files", "", "folder of files that the first user's drive serves")
	set.IntVar(&f.world.Tenants, "tenants", 1, "tenants to make")
	set.Float64Var(&f.world.Spread, "spread", 0, "how far sizes of tenants differ: sigma of a log-normal distribution")
	set.Float64Var(&t.Spread, "user-spread", 0, "how far mailboxes and drives of a tenant's users differ, likewise")
	set.BoolVar(&f.consent, "consent", false, "let the tenants consent at once")
	set.IntVar(&t.Users, "users", 10, "users of each tenant")
	set.IntVar(&t.MailsPerUser, "mails", 100, "messages of each mailbox")
	set.IntVar(&t.ContactsPerUser, "contacts", 0, "contacts of each mailbox")
	set.IntVar(&t.EventsPerUser, "events", 0, "events of each mailbox; a series counts once")
	set.IntVar(&t.TasksPerUser, "tasks", 0, "To Do tasks of each mailbox")
	set.IntVar(&t.FilesPerUser, "files-per-user", 20, "files of each drive")
	set.IntVar(&t.Groups, "groups", 4, "groups of each tenant")
	set.IntVar(&t.Sites, "sites", 2, "team sites of each tenant")
	set.IntVar(&t.Unlicensed, "unlicensed", 0, "users without a licence, of each tenant")
	set.IntVar(&t.NoDrive, "no-drive", 0, "licensed users without a drive, of each tenant")
	set.IntVar(&t.Shared, "shared", 0, "shared mailboxes of each tenant")
	set.IntVar(&t.Rooms, "rooms", 0, "room mailboxes of each tenant")
	set.IntVar(&t.Equipment, "equipment", 0, "equipment mailboxes of each tenant")
	set.IntVar(&t.Subsites, "subsites", 0, "webs below the team sites of each tenant")
	set.BoolVar(&t.Partner, "partner", false, "make tenants of service providers, whose customers the others are")
	set.IntVar(&t.MailLimit, "mail-limit", 0, "requests per window of each mailbox (default: as documented)")
	set.IntVar(&t.SharePointPerMinute, "sharepoint-limit", 0, "SharePoint units per minute of each tenant (default: as documented)")
}

// resolve reads what the flags name.
func (f *flags) resolve() (graphsim.Options, error) {
	if f.caOut != "" && f.options.ProxyAddr == "" {
		return graphsim.Options{}, errors.New("--ca-out needs --connect-proxy")
	}
	if f.certificate != "" {
		pem, err := os.ReadFile(f.certificate)
		if err != nil {
			return graphsim.Options{}, fmt.Errorf("read certificate: %w", err)
		}
		f.options.CertificatePEM = pem
	}
	if f.limits != "" {
		limits, err := graphsim.LoadLimits(f.limits)
		if err != nil {
			return graphsim.Options{}, err
		}
		f.options.Limits = limits
	}
	return f.options, nil
}
