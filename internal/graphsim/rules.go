package graphsim

import (
	"slices"
	"strings"
)

// Rule bounds the requests to some paths. A request counts against the first rule
// of each family that it matches, and against all quotas of that rule.
type Rule struct {
	Name   string `json:"name"`
	Family string `json:"family"`
	// Methods are those it holds for; none is all.
	Methods []string `json:"methods,omitempty"`
	// Paths are patterns below the version: "*" stands for one segment, "{}" for
	// one that names the resource, "**" at the end for one segment or more, and
	// "a|b" for either.
	Paths []string `json:"paths"`
	// Query narrows it to requests with these options: their values must occur.
	Query map[string]string `json:"query,omitempty"`

	App       []Quota `json:"app,omitempty"`       // over all tenants
	AppTenant []Quota `json:"appTenant,omitempty"` // of one application in a tenant
	Tenant    []Quota `json:"tenant,omitempty"`    // of all applications in a tenant
	Resource  []Quota `json:"resource,omitempty"`  // of one application on a resource
	// Concurrent bounds the application's requests at the same time.
	Concurrent int `json:"concurrent,omitempty"`
	// EachConcurrent bounds those of the application on one resource.
	EachConcurrent int `json:"eachConcurrent,omitempty"`
	// User and UserConcurrent hold instead of App and Concurrent for requests on
	// behalf of a user; with UserAllApps those of all applications count together.
	User           []Quota `json:"user,omitempty"`
	UserConcurrent int     `json:"userConcurrent,omitempty"`
	UserAllApps    bool    `json:"userAllApps,omitempty"`
	// EachPath counts AppTenant and Tenant for each last segment apart.
	EachPath bool `json:"eachPath,omitempty"`
	// Sustained means that the quotas hold for bursts only (Limits.Burst).
	Sustained bool `json:"sustained,omitempty"`
	// ResourceUnits makes the quotas count units by the price of each request, not requests:
	// 1 for one object, 2 for several and for writes, 5 for permissions.
	ResourceUnits bool `json:"resourceUnits,omitempty"`
	// NoRetryAfter is for services that document none on their 429.
	NoRetryAfter bool `json:"noRetryAfter,omitempty"`
}

var (
	reads  = []string{"GET"}
	writes = []string{"POST", "PUT", "PATCH", "DELETE"}
)

// teamsRule is a row of the Teams table: requests a second.
func teamsRule(name string, methods []string, app, tenant, resource int64, paths ...string) Rule {
	r := Rule{Name: "teams." + name, Family: "teams", Methods: methods, Paths: paths, Sustained: true,
		App: []Quota{{app, 1}}, AppTenant: []Quota{{tenant, 1}}}
	if resource > 0 {
		r.Resource = []Quota{{resource, 1}}
	}
	return r
}

// documentedRules is what "Microsoft Graph service-specific throttling limits" says
// of Teams, OneNote, reports, subscriptions, audit, identity protection, extensions
// and service communications, and the SharePoint page of sharing, labels, search and
// the containers of SharePoint Embedded.
func documentedRules() []Rule {
	list := teamsRules()
	const onenote = "users|groups|sites/*/onenote/**"
	return append(list,
		Rule{Name: "oneNote", Family: "oneNote", Paths: []string{onenote}, App: []Quota{{240, 60}, {800, 3600}}, Concurrent: 20,
			User: []Quota{{120, 60}, {400, 3600}}, UserConcurrent: 5, NoRetryAfter: true},
		Rule{Name: "reports.json", Family: "reports", Paths: []string{"reports/**"}, Query: map[string]string{"$format": "application/json"},
			AppTenant: []Quota{{100, 600}}, EachPath: true},
		Rule{Name: "reports.csv", Family: "reports", Paths: []string{"reports/**"}, AppTenant: []Quota{{14, 600}}, Tenant: []Quota{{40, 600}}, EachPath: true},
		Rule{Name: "subscriptions.reauthorize", Family: "subscriptions", Methods: []string{"POST"}, Paths: []string{"subscriptions/*/reauthorize"},
			App: []Quota{{4_000, 20}}, AppTenant: []Quota{{1_000, 20}}},
		Rule{Name: "subscriptions.write", Family: "subscriptions", Methods: writes, Paths: []string{"subscriptions", "subscriptions/*"},
			App: []Quota{{2_000, 20}}, AppTenant: []Quota{{500, 20}}},
		Rule{Name: "subscriptions.get", Family: "subscriptions", Methods: reads, Paths: []string{"subscriptions/*"},
			App: []Quota{{2_000, 20}}, AppTenant: []Quota{{500, 20}}},
		Rule{Name: "subscriptions.list", Family: "subscriptions", Methods: reads, Paths: []string{"subscriptions"},
			App: []Quota{{40, 20}}, AppTenant: []Quota{{25, 20}}},
		Rule{Name: "serviceCommunications", Family: "serviceCommunications", Paths: []string{"admin/serviceAnnouncement/**"},
			AppTenant: []Quota{{240, 60}, {800, 3600}}},
		Rule{Name: "audit", Family: "audit", Methods: reads, Paths: []string{"auditLogs/**"}, App: []Quota{{122, 10}}, AppTenant: []Quota{{5, 10}}},
		Rule{Name: "signInActivity", Family: "signInActivity", Methods: reads, Paths: []string{"users", "users/*"}, Query: map[string]string{"$select": "signInActivity"},
			AppTenant: []Quota{{10, 60}}},
		Rule{Name: "identityProtection", Family: "identityProtection", Paths: []string{"identityProtection/**", "identity/conditionalAccess/**"},
			Tenant: []Quota{{1, 1}}, NoRetryAfter: true},
		Rule{Name: "extensions", Family: "extensions", Paths: []string{"users/*/messages|events|contacts/*/extensions", "users/*/messages|events|contacts/*/extensions/**"},
			AppTenant: []Quota{{455, 10}}},
		Rule{Name: "sharing", Family: "sharing", Methods: []string{"POST"}, Paths: []string{"drives/*/items/*/invite|createLink", "drives/*/items/*/@path/invite|createLink"},
			AppTenant: []Quota{{300, 300}}},
		Rule{Name: "sensitivityLabels", Family: "sensitivityLabels", Methods: []string{"POST"}, Paths: []string{"drives/*/items/*/assignSensitivityLabel"},
			Tenant: []Quota{{100, 300}}},
		Rule{Name: "search", Family: "search", Methods: []string{"POST"}, Paths: []string{"search/query"}, AppTenant: []Quota{{25, 1}},
			User: []Quota{{10, 1}}, UserAllApps: true},
		Rule{Name: "bookings", Family: "bookings", Paths: []string{"solutions/bookingBusinesses/{}", "solutions/bookingBusinesses/{}/**"}, EachConcurrent: 4},
		// Which paths belong to a container is not documented: a file with other limits names them.
		Rule{Name: "embedded", Family: "embedded", ResourceUnits: true, Resource: []Quota{{3_000, 60}}},
		Rule{Name: "messageTrace", Family: "messageTrace", Paths: []string{"admin/exchange/tracing/**"}, Tenant: []Quota{{100, 300}}},
	)
}

func teamsRules() []Rule {
	changes := []string{"POST", "PUT", "PATCH"}
	return []Rule{
		teamsRule("getAllMessages", reads, 1000, 200, 0, "teams/*/channels/getAllMessages|allMessages|getAllRetainedMessages",
			"users/*/chats/getAllMessages|allMessages|getAllRetainedMessages"),
		teamsRule("messages", reads, 200, 20, 1, "teams/*/channels/{}/messages", "chats/{}/messages", "users/*/chats/{}/messages"),
		teamsRule("hostedContents", reads, 500, 50, 1, "teams/*/channels/{}/messages/*/hostedContents",
			"teams/*/channels/{}/messages/*/replies/*/hostedContents", "chats/{}/messages/*/hostedContents"),
		teamsRule("hostedContent", reads, 600, 60, 1, "teams/*/channels/{}/messages/*/hostedContents/*/$value",
			"teams/*/channels/{}/messages/*/replies/*/hostedContents/*/$value", "chats/{}/messages/*/hostedContents/*/$value"),
		teamsRule("team", reads, 1500, 30, 4, "teams/{}"),
		teamsRule("channels", reads, 1200, 60, 4, "teams/{}/channels"),
		teamsRule("channel", reads, 600, 30, 1, "teams/*/channels/{}"),
		teamsRule("members", reads, 1200, 60, 4, "teams/{}/members"),
		teamsRule("send", []string{"POST"}, 500, 50, 1, "teams/*/channels/{}/messages", "chats/{}/messages"),
		teamsRule("get", reads, 1500, 30, 1, "teams/*/channels/{}/**", "chats/{}", "chats/{}/**", "users/*/chats/{}/**", "teams/{}/**", "users/*/chats"),
		teamsRule("write", changes, 300, 30, 1, "teams/*/channels/{}/**", "chats/{}/**", "teams/{}/**", "teams/{}", "teams", "chats"),
		teamsRule("delete", []string{"DELETE"}, 150, 15, 1, "teams/*/channels/{}", "teams/*/channels/{}/**", "chats/{}/**", "teams/{}/**", "teams/{}"),
	}
}

// ruleBook finds the rules for a request. It never changes after it is made.
type ruleBook struct {
	byFirst map[string][]pathRule // by the first segment
}

type pathRule struct {
	rule     *Rule
	segments []string
}

func newRuleBook(rules []Rule) *ruleBook {
	b := &ruleBook{byFirst: map[string][]pathRule{}}
	for i := range rules {
		for _, path := range rules[i].Paths {
			segments := strings.Split(path, "/")
			for first := range strings.SplitSeq(segments[0], "|") {
				b.byFirst[first] = append(b.byFirst[first], pathRule{&rules[i], segments})
			}
		}
	}
	return b
}

// match is a rule that a request counts against, with the resource it is about.
type match struct {
	*Rule
	resource string
}

// find returns the rules for a path, at most one of each family.
func (b *ruleBook) find(method string, segments []string, option func(string) string) (found []match) {
	for _, p := range b.byFirst[segments[0]] {
		if len(p.rule.Methods) > 0 && !slices.Contains(p.rule.Methods, method) ||
			slices.ContainsFunc(found, func(m match) bool { return m.Family == p.rule.Family }) {
			continue
		}
		resource, ok := p.covers(segments)
		for name, value := range p.rule.Query {
			ok = ok && strings.Contains(strings.ToLower(option(name)), strings.ToLower(value))
		}
		if ok {
			found = append(found, match{p.rule, resource})
		}
	}
	return found
}

func (p pathRule) covers(segments []string) (resource string, ok bool) {
	rest := p.segments[len(p.segments)-1] == "**"
	if rest && len(segments) < len(p.segments) || !rest && len(segments) != len(p.segments) {
		return "", false
	}
	for i, want := range p.segments {
		switch want {
		case "**", "*":
		case "{}":
			resource = segments[i]
		default:
			if !slices.ContainsFunc(strings.Split(want, "|"), func(w string) bool { return strings.EqualFold(w, segments[i]) }) {
				return "", false
			}
		}
	}
	return resource, true
}

// units is the price of a request under a rule. A path does not say whether its last segment
// is one object or several unless it is an ID, that is, every second one below the service:
// the harsher reading is several.
func (m match) units(method string, segments []string, expand string) int64 {
	switch {
	case !m.ResourceUnits:
		return 1
	case slices.Contains(segments, "permissions") || strings.Contains(expand, "permissions"):
		return 5
	case method != "GET" || len(segments)%2 == 1:
		return 2
	}
	return 1
}
