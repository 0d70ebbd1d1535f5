package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/pflag"
	"gopkg.in/yaml.v3"

	"github.com/tenantry/tenantry/internal/graphsim"
)

// flags is the command line.
type flags struct {
	options     graphsim.Options
	certificate string
	caOut       string
	limits      string
	worldFile   string
	world       graphsim.World
	consent     bool

	set       *pflag.FlagSet
	worldKeys []string // the flags that describe the world
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

// register declares all flags: one for every number and switch of the simulator.
func (f *flags) register(set *pflag.FlagSet) {
	f.set = set
	f.registerServer()
	f.registerBehaviour()
	f.registerSwitches()
	before := map[string]bool{}
	set.VisitAll(func(flag *pflag.Flag) { before[flag.Name] = true })
	f.registerPeople()
	f.registerSites()
	set.VisitAll(func(flag *pflag.Flag) {
		if !before[flag.Name] {
			f.worldKeys = append(f.worldKeys, flag.Name)
		}
	})
	set.StringVar(&f.worldFile, "world", "", "YAML or JSON file that describes the world instead of the flags; flags given beside it win")
	set.BoolVar(&f.consent, "consent", false, "let the tenants consent at once")
}

func (f *flags) registerServer() {
	set, o := f.set, &f.options
	set.StringVar(&o.Addr, "addr", "127.0.0.1:8365", "address of login and Graph")
	set.StringVar(&o.FilesAddr, "files-addr", "", "address of download and upload URLs (default: a free port)")
	set.StringVar(&o.AdminAddr, "admin", "", "loopback address of the control interface (default: a free port)")
	set.StringVar(&o.ProxyAddr, "connect-proxy", "", "loopback address of a proxy that answers as Microsoft's hosts (default: none)")
	set.StringVar(&f.caOut, "ca-out", "", "file to write the certificate to that clients of the proxy have to trust")
	set.StringVar(&o.ClientID, "client-id", graphsim.DefaultClientID, "client ID of the registered application")
	set.StringVar(&o.Secret, "client-secret", graphsim.DefaultSecret, "secret of the registered application")
	set.StringVar(&f.certificate, "certificate", "", "PEM file with certificates of the application")
	set.StringVar(&o.RedirectURI, "redirect-uri", "", "registered redirect URI (default: any loopback address)")
	set.StringVar(&f.limits, "limits", "", "JSON file with limits that differ from the documented ones")
	set.Int64Var(&o.Seed, "seed", 1, "seed of everything generated")
	set.StringVar(&o.Corpus, "corpus", os.Getenv("TENANTRY_CORPUS"), "folder with mail, contacts, calendar and files to serve (default: $TENANTRY_CORPUS)")
	set.StringVar(&o.Files, "files", "", "folder of files that the first user's drive serves")
}

func (f *flags) registerBehaviour() {
	set, o := f.set, &f.options
	set.StringVar((*string)(&o.Cloud), "cloud", "", "national cloud: usgov, dod, china, usnat, ussec, bleu or delos (default: the global one)")
	set.Float64Var(&o.Clock, "clock", 1, "how many times faster limits, tokens and links age")
	set.DurationVar(&o.Latency, "latency", 0, "least time a Graph request takes")
	set.IntVar(&o.PageSize, "page-size", 0, "bound of every page (default: as documented)")
	set.DurationVar(&o.LinkLife, "link-life", 0, "life of download URLs (default 5m)")
	set.DurationVar(&o.TokenLife, "token-life", 0, "life of access tokens (default 60 to 90 minutes, 28 hours for clients that can be challenged)")
	set.Int64Var(&o.TokenLoop.Max, "token-loop", 0, "token requests that are no loop (default 1000, negative: any)")
	set.Int64Var(&o.TokenLoop.Seconds, "token-loop-seconds", 0, "seconds in which they are counted (default 300)")
	set.DurationVar(&o.ConsentDelay, "consent-delay", 0, "how long the login host does not know of a consent")
	set.DurationVar(&o.RegistrationDelay, "registration-delay", 0, "how long a new application is not found")
	set.DurationVar(&o.Retention.Users, "user-retention", 0, "how long deleted users can be restored (default 30 days)")
	set.DurationVar(&o.Retention.Groups, "group-retention", 0, "how long deleted groups can be restored (default 30 days)")
	set.DurationVar(&o.Retention.Applications, "application-retention", 0, "how long deleted applications can be restored (default 30 days)")
	set.DurationVar(&o.Retention.Sites, "site-retention", 0, "how long a deleted site can be read (default 93 days)")
	set.BoolVar(&o.Lenient, "lenient", false, "allow what clients get away with in the field against the documentation, as the proxy always does")
	set.BoolVar(&o.StrictProxy, "strict-proxy", false, "hold what comes through the proxy to the documentation, too (rclone then fails)")
	set.BoolVar(&o.StrictBatchOrder, "strict-batch-order", false, "one dependency per request of a batch, in the shapes of 2021")
	set.BoolVar(&o.SubsitesInDelta, "subsites-in-delta", false, "let the sites delta name subsites")
}

// registerSwitches declares what the documentation leaves open.
func (f *flags) registerSwitches() {
	set, e, s, t := f.set, &f.options.Exchange, &f.options.SharePoint, &f.options.Teams
	set.BoolVar(&e.ListDefaultContacts, "exchange-list-default-contacts", false, "show the default folder among contactFolders")
	set.BoolVar(&e.EventsDelta, "exchange-events-delta", false, "offer events/delta")
	set.BoolVar(&e.ChildFoldersDelta, "exchange-child-folders-delta", false, "offer childFolders/delta of mail folders")
	set.BoolVar(&e.DeltaShowsRoot, "exchange-delta-shows-root", false, "put the root into mailFolders/delta")
	set.BoolVar(&e.DeltaShowsHidden, "exchange-delta-shows-hidden", false, "put hidden folders into mailFolders/delta")
	set.BoolVar(&e.PostAttachments, "exchange-post-attachments", false, "let applications list the attachments of posts in groups")
	set.BoolVar(&e.TaskAttachments, "exchange-task-attachments", false, "serve the files of tasks")
	set.BoolVar(&e.OneIDSpace, "exchange-one-id-space", false, "let import and export share its IDs with the Outlook resources")
	set.BoolVar(&e.OneImportPerSession, "exchange-one-import-per-session", false, "let an import session take a single item")
	set.BoolVar(&e.ImportSessionCreated, "exchange-import-session-created", false, "answer createImportSession with 201")
	set.DurationVar(&e.ImportSessionLife, "exchange-import-session-life", 0, "life of import sessions (default 15m)")
	set.Int64Var(&e.MaxItemSize, "exchange-max-item-size", 0, "largest stream of an item in bytes (default 150 MiB)")
	set.IntVar(&s.VersionLimit, "sharepoint-version-limit", 0, "old versions kept of a file or list item (default 100)")
	set.BoolVar(&s.CurrentVersionContent, "sharepoint-current-version-content", false, "serve the current version's bytes among the versions")
	set.BoolVar(&s.NotebookContent, "sharepoint-notebook-content", false, "serve the parts of OneNote notebooks as files")
	set.BoolVar(&s.ExternalSharing, "sharepoint-external-sharing", false, "let links be anonymous and invitations go to strangers")
	set.BoolVar(&s.RestoreDeleted, "sharepoint-restore-deleted", false, "let the recycle bin give items back")
	set.BoolVar(&s.LibrarySharingChanges, "sharepoint-library-sharing-changes", false, "mark changed permissions in the delta of site libraries")
	set.BoolVar(&s.LateHashes, "sharepoint-late-hashes", false, "leave the hash of a file out until it was downloaded once")
	set.BoolVar(&t.ExportOptions, "teams-export-options", false, "let getAllMessages take a licensing model and a filter by lastModifiedDateTime")
	set.BoolVar(&t.MessagesDelta, "teams-messages-delta", false, "offer the delta of a channel's messages")
	set.BoolVar(&t.DeltaTellsReplies, "teams-delta-tells-replies", false, "let that delta tell of a message again when its replies change")
	set.BoolVar(&t.Import, "teams-import", false, "take messages of an application with Teamwork.Migrate.All")
}

func (f *flags) registerPeople() {
	set, w, t := f.set, &f.world, &f.world.Tenant
	set.IntVar(&w.Tenants, "tenants", 1, "tenants to make")
	set.Float64Var(&w.Spread, "spread", 0, "how far sizes of tenants differ: sigma of a log-normal distribution")
	set.Float64Var(&t.Spread, "user-spread", 0, "how far mailboxes and drives of a tenant's users differ, likewise")
	set.IntVar(&t.Users, "users", 10, "users of each tenant")
	set.IntVar(&t.Unlicensed, "unlicensed", 0, "users without a licence, of each tenant")
	set.IntVar(&t.NoDrive, "no-drive", 0, "licensed users without a drive, of each tenant")
	set.IntVar(&t.Shared, "shared", 0, "shared mailboxes of each tenant")
	set.IntVar(&t.Rooms, "rooms", 0, "room mailboxes of each tenant")
	set.IntVar(&t.Equipment, "equipment", 0, "equipment mailboxes of each tenant")
	set.IntVar(&t.Groups, "groups", 4, "groups of each tenant")
	set.IntVar(&t.MailsPerUser, "mails", 100, "messages of each mailbox")
	set.IntVar(&t.MailSize, "mail-size", 0, "bytes of each message's text (default: as people have them)")
	set.Int64Var(&t.AttachmentSize, "attachment-size", 0, "give one message in five a file of so many bytes (default: as people have them)")
	set.IntVar(&t.Languages, "languages", 0, "languages that messages are written in, up to 8 (default: English with words of others)")
	set.IntVar(&t.Charsets, "charsets", 0, "how many of a hundred messages come in an older charset than UTF-8 as MIME")
	set.IntVar(&t.ContactsPerUser, "contacts", 0, "contacts of each mailbox")
	set.IntVar(&t.EventsPerUser, "events", 0, "events of each mailbox")
	set.IntVar(&t.TasksPerUser, "tasks", 0, "tasks of each mailbox")
	set.IntVar(&t.ThreadsPerGroup, "threads", 0, "threads in the conversations of each Microsoft 365 group")
	set.IntVar(&t.MailLimit, "mail-limit", 0, "requests per window of each mailbox (default: as documented)")
	set.Int64Var(&t.Licences, "licences", 0, "licences each tenant bought (default: one for each licensed user)")
	set.BoolVar(&t.Partner, "partner", false, "make tenants of service providers, whose customers the others are")
}

func (f *flags) registerSites() {
	set, t := f.set, &f.world.Tenant
	set.IntVar(&t.Sites, "sites", 2, "team sites of each tenant")
	set.IntVar(&t.Subsites, "subsites", 0, "webs below the team sites of each tenant")
	set.IntVar(&t.FilesPerUser, "files-per-user", 20, "files of each drive")
	set.Int64Var(&t.FileSize, "file-size", 0, "bytes of each file (default: as people have them)")
	set.Int64Var(&t.DriveQuota, "drive-quota", 0, "bytes each drive has room for (default 1 TiB)")
	set.IntVar(&t.Libraries, "libraries", 0, "further document libraries of each team and group site")
	set.IntVar(&t.LibraryColumns, "library-columns", 0, "custom columns of each library of a team or group site, with values of its files")
	set.IntVar(&t.Lists, "lists", 0, "lists of each team and group site")
	set.IntVar(&t.ListItems, "list-items", 0, "items of each list")
	set.IntVar(&t.Pages, "pages", 0, "pages of each team and group site")
	set.IntVar(&t.Channels, "channels", 0, "standard channels of each team besides General")
	set.IntVar(&t.ClosedChannels, "closed-channels", 0, "private and shared channels of each team")
	set.IntVar(&t.Chats, "chats", 0, "with how many others each user has a chat, on either side")
	set.IntVar(&t.Messages, "messages", 0, "messages of each channel and chat")
	set.IntVar(&t.SharePointPerMinute, "sharepoint-limit", 0, "SharePoint units per minute of each tenant (default: as documented)")
}

// resolve reads what the flags name. Errors name the flag or the field.
func (f *flags) resolve() error {
	if f.caOut != "" && f.options.ProxyAddr == "" {
		return errors.New("--ca-out needs --connect-proxy")
	}
	if f.certificate != "" {
		pem, err := os.ReadFile(f.certificate)
		if err != nil {
			return fmt.Errorf("--certificate: %w", err)
		}
		f.options.CertificatePEM = pem
	}
	if f.limits != "" {
		limits, err := graphsim.LoadLimits(f.limits)
		if err != nil {
			return fmt.Errorf("--limits: %w", err)
		}
		f.options.Limits = limits
	}
	if f.worldFile != "" {
		if err := f.readWorld(); err != nil {
			return fmt.Errorf("--world %s: %w", f.worldFile, err)
		}
	}
	if err := f.world.Check(); err != nil {
		return fmt.Errorf("world: %w", err)
	}
	return nil
}

// readWorld takes the world from a file; what flags say besides is set again over it.
func (f *flags) readWorld() error {
	said := map[string]string{}
	for _, name := range f.worldKeys {
		if flag := f.set.Lookup(name); flag.Changed {
			said[name] = flag.Value.String()
		}
	}
	data, err := os.ReadFile(f.worldFile)
	if err != nil {
		return err
	}
	if f.world, err = parseWorld(data); err != nil {
		return err
	}
	for name, value := range said {
		if err := f.set.Set(name, value); err != nil {
			return err
		}
	}
	return nil
}

// parseWorld reads a graphsim.World from YAML, or from JSON, which is YAML too. What the
// file does not name is zero; a name that no world has is an error.
func parseWorld(data []byte) (w graphsim.World, err error) {
	var tree any
	if err := yaml.Unmarshal(data, &tree); err != nil {
		return w, err
	}
	text, err := json.Marshal(tree)
	if err != nil {
		return w, err
	}
	in := json.NewDecoder(bytes.NewReader(text))
	in.DisallowUnknownFields()
	if err := in.Decode(&w); err != nil {
		return w, err
	}
	if w.Tenants == 0 && w.Also == nil {
		w.Tenants = 1
	}
	return w, nil
}
