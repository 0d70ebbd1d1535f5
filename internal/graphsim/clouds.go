package graphsim

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// Cloud is whose Microsoft 365 this is: a national cloud has names of its own for Graph and
// the login host, and takes none of another cloud's ("Microsoft Graph national cloud
// deployments"); it lacks what its schema of Graph does not have (metadata of v1.0, 2026).
// The address is the simulator's own in each.
type Cloud string

// The clouds. The zero value is the global one, which has everything.
const (
	CloudGlobal Cloud = ""
	CloudUSGov  Cloud = "usgov" // L4, GCC High
	CloudDoD    Cloud = "dod"   // L5
	CloudChina  Cloud = "china" // 21Vianet
	CloudUSNat  Cloud = "usnat"
	CloudUSSec  Cloud = "ussec"
	CloudBleu   Cloud = "bleu"
	CloudDelos  Cloud = "delos"
)

// What clouds lack, as patterns of paths.
const (
	noImportExport = `^admin/exchange/|^users/[^/]+/settings/exchange`
	noMailDelta    = `(messages|mailFolders|contacts|contactFolders)/delta$`
	noSiteDelta    = `^sites/delta$|/items/delta$`
	noMessages     = `/getAllMessages$|/allMessages$`
	noPartners     = `^tenantRelationships/`
)

var lacking = map[Cloud]*regexp.Regexp{
	CloudDoD:   nil, // no schema of L5 alone is published
	CloudUSGov: regexp.MustCompile(noImportExport),
	CloudChina: regexp.MustCompile(noImportExport + "|" + noMailDelta + "|" + noPartners),
	CloudUSNat: regexp.MustCompile(noImportExport + "|" + noSiteDelta),
	CloudUSSec: regexp.MustCompile(noImportExport + "|" + noSiteDelta),
	CloudBleu:  regexp.MustCompile(noImportExport),
	CloudDelos: regexp.MustCompile(noImportExport + "|" + noMessages),
}

// hosts are the names of a cloud: of Graph, and of its login hosts, the first of which is
// the one in use.
type hosts struct {
	graph  string
	logins []string
}

// named are the clouds whose hosts are documented; the others answer to those of the global one.
var named = map[Cloud]hosts{
	CloudGlobal: {"graph.microsoft.com", []string{"login.microsoftonline.com"}},
	CloudUSGov:  {"graph.microsoft.us", []string{"login.microsoftonline.us"}},
	CloudDoD:    {"dod-graph.microsoft.us", []string{"login.microsoftonline.us"}},
	CloudChina:  {"microsoftgraph.chinacloudapi.cn", []string{"login.partner.microsoftonline.cn", "login.chinacloudapi.cn"}},
}

func (c Cloud) hosts() hosts {
	if h, ok := named[c]; ok {
		return h
	}
	return named[CloudGlobal]
}

// root is the name of the cloud's Graph as scopes and audiences have it.
func (h hosts) root() string { return "https://" + h.graph }

// authorizeURI is where a refusal sends a client to sign in.
func (h hosts) authorizeURI() string {
	return `authorization_uri="https://` + h.logins[0] + `/common/oauth2/authorize"`
}

// purposeless are the clouds whose mailboxSettings have no userPurpose.
var purposeless = []Cloud{CloudUSNat, CloudUSSec, CloudBleu, CloudDelos}

func (c Cloud) check() error {
	if _, known := lacking[c]; !known && c != CloudGlobal {
		return fmt.Errorf("cloud %q is none of %v", c, slices.Sorted(maps.Keys(lacking)))
	}
	return nil
}

// lacks reports whether a cloud does not have a route.
func (c Cloud) lacks(pattern string) bool {
	if slices.Contains(purposeless, c) && strings.HasSuffix(pattern, "mailboxSettings/userPurpose") {
		return true
	}
	without := lacking[c]
	return without != nil && without.MatchString(pattern)
}

// withoutPurpose refuses userPurpose where the type does not have it.
func (c *call) withoutPurpose() (bool, error) {
	if !slices.Contains(purposeless, c.s.o.Cloud) {
		return false, nil
	}
	if c.sel.asked("userPurpose") {
		return true, c.rt.noProperty("userPurpose")
	}
	return true, nil
}
