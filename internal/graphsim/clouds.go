package graphsim

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// Cloud is whose Microsoft 365 this is: a national cloud lacks what its schema of Graph
// does not have (metadata of v1.0, 2026). Hosts are the simulator's own in each.
type Cloud string

// The clouds. The zero value is the global one, which has everything.
const (
	CloudGlobal Cloud = ""
	CloudUSGov  Cloud = "usgov" // L4, GCC High
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
	CloudUSGov: regexp.MustCompile(noImportExport),
	CloudChina: regexp.MustCompile(noImportExport + "|" + noMailDelta + "|" + noPartners),
	CloudUSNat: regexp.MustCompile(noImportExport + "|" + noSiteDelta),
	CloudUSSec: regexp.MustCompile(noImportExport + "|" + noSiteDelta),
	CloudBleu:  regexp.MustCompile(noImportExport),
	CloudDelos: regexp.MustCompile(noImportExport + "|" + noMessages),
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
