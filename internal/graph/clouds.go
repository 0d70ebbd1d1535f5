package graph

import (
	"net"
	"net/url"
	"strings"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// A cloud is one of Microsoft's separate installations. Tokens, registrations
// and data of one are unknown in the others. Hosts as in Microsoft's "national
// cloud deployments" page.
type cloud struct {
	login   string
	graph   string
	content []string // suffixes of the hosts behind pre-authenticated addresses
	lacks   []string // what its schema of v1.0 does not have of what others do
}

// clouds by the name that configuration uses. GCC (not High) is global.
var clouds = map[string]cloud{
	"global": {
		login: "https://login.microsoftonline.com", graph: "https://graph.microsoft.com",
		content: []string{".sharepoint.com", ".svc.ms", ".1drv.com", "outlook.office.com", "outlook.office365.com"},
	},
	"gcchigh": {
		login: "https://login.microsoftonline.us", graph: "https://graph.microsoft.us",
		content: []string{".sharepoint.us", ".svc.ms", "outlook.office365.us"},
	},
	"dod": {
		login: "https://login.microsoftonline.us", graph: "https://dod-graph.microsoft.us",
		content: []string{".sharepoint-mil.us", ".svc.ms", ".apps.mil", "outlook-dod.office365.us"},
	},
	"china": {
		login: "https://login.partner.microsoftonline.cn", graph: "https://microsoftgraph.chinacloudapi.cn",
		content: []string{".sharepoint.cn", ".svc.ms", "partner.outlook.cn"},
		lacks:   []string{"no delta of messages, mail folders and contacts: each mailbox is compared by lists in every backup, which takes more requests"},
	},
}

// endpoints is a cloud as one configuration reaches it.
type endpoints struct {
	login   *url.URL // without a path
	graph   *url.URL // with the version: ".../v1.0"
	scope   string
	content []string
	local   bool // Graph is overridden by a loopback address: content may be there, too
}

func resolve(cfg Config) (endpoints, error) {
	name := cfg.Cloud
	if name == "" {
		name = "global"
	}
	c, ok := clouds[name]
	if !ok {
		return endpoints{}, tenantry.Errorf(tenantry.Invalid, "cloud: %q is none of global, gcchigh, dod, china", cfg.Cloud)
	}
	login, err := root("login-url", cfg.LoginURL, c.login)
	if err != nil {
		return endpoints{}, err
	}
	graph, err := root("graph-url", strings.TrimSuffix(strings.TrimSuffix(cfg.GraphURL, "/"), "/v1.0"), c.graph)
	if err != nil {
		return endpoints{}, err
	}
	local := loopback(graph.Hostname())
	graph = graph.JoinPath("v1.0")
	// The scope names the cloud, not the address it is reached at.
	return endpoints{login: login, graph: graph, scope: c.graph + "/.default", content: c.content, local: local}, nil
}

// root parses a base URL: https anywhere, plain http on loopback only.
func root(key, override, standard string) (*url.URL, error) {
	text := override
	if text == "" {
		text = standard
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, tenantry.Errorf(tenantry.Invalid, "%s: not the address of a host: https://host[:port]", key)
	}
	if u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname())) {
		return nil, tenantry.Errorf(tenantry.Invalid, "%s: must be https; plain http is for loopback addresses only", key)
	}
	u.Path = strings.TrimSuffix(u.Path, "/")
	return u, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// tokenURL is where tokens for a directory (GUID or domain) are asked for.
func (e endpoints) tokenURL(directory string) string {
	return e.login.JoinPath(url.PathEscape(directory), "oauth2/v2.0/token").String()
}

// consentURL is the admin-consent page (Microsoft identity platform, "client
// credentials flow", request the permissions from a directory admin).
func (e endpoints) consentURL(clientID, directory, state, redirect string) string {
	if directory == "" {
		directory = "common"
	}
	u := e.login.JoinPath(url.PathEscape(directory), "adminconsent")
	u.RawQuery = url.Values{"client_id": {clientID}, "state": {state}, "redirect_uri": {redirect}}.Encode()
	return u.String()
}

// ownLink reports whether link is an address of this cloud's Graph: the only
// place where a bearer token may go.
func (e endpoints) ownLink(link string) bool {
	u, err := url.Parse(link)
	return err == nil && e.own(u)
}

func (e endpoints) own(u *url.URL) bool {
	return u.Scheme == e.graph.Scheme && u.User == nil && strings.EqualFold(u.Host, e.graph.Host)
}

// contentLink reports whether link, a pre-authenticated address that Graph
// handed out, lies on a content host of this cloud.
func (e endpoints) contentLink(link string) bool {
	u, err := url.Parse(link)
	return err == nil && e.keepsContent(u)
}

func (e endpoints) keepsContent(u *url.URL) bool {
	if u.Host == "" || u.User != nil {
		return false
	}
	if e.local && loopback(u.Hostname()) && (u.Scheme == "http" || u.Scheme == "https") {
		return true
	}
	if u.Scheme != "https" {
		return false
	}
	host := strings.ToLower(u.Hostname())
	for _, suffix := range e.content {
		if host == suffix || strings.HasPrefix(suffix, ".") && strings.HasSuffix(host, suffix) {
			return true
		}
	}
	return false
}

// Cloud is what is known of one of Microsoft's clouds.
type Cloud struct {
	Name         string
	Login, Graph string   // their addresses
	Lacks        []string // what Graph does not have there, and what is done instead
}

// CloudOf describes a cloud by its name; one that is not known has only that.
func CloudOf(name string) Cloud {
	c := clouds[name]
	return Cloud{Name: name, Login: c.login, Graph: c.graph, Lacks: c.lacks}
}
