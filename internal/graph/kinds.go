package graph

import (
	"net/http"
	"strings"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// kindByCode says what Graph's codes mean, in lower case: services spell them
// differently. The documented generic ones stand in Microsoft's "error responses
// and resource types"; the Exchange and SharePoint ones are what open-source
// backup tools met. A code stands here only if it says more than its status.
var kindByCode = map[string]tenantry.Kind{
	// Throttling, whatever the status.
	"activitylimitreached":      tenantry.Throttled,
	"applicationthrottled":      tenantry.Throttled,
	"throttledrequest":          tenantry.Throttled,
	"toomanyrequests":           tenantry.Throttled,
	"errortoomanyobjectsopened": tenantry.Throttled,
	"errorserverbusy":           tenantry.Throttled,

	// Passing trouble.
	"servicenotavailable":      tenantry.Transient,
	"generalexception":         tenantry.Transient,
	"cannotsnapshottree":       tenantry.Transient,
	"resourcebeingprovisioned": tenantry.Transient,
	"servicereadonly":          tenantry.Transient,

	// Nothing to back up.
	"mailboxnotenabledforrestapi": tenantry.Absent,
	"errorinvaliduser":            tenantry.Absent,
	"errornonexistentmailbox":     tenantry.Absent,

	// This resource is refused; others may be readable. extensionError is a
	// mailbox on premises without federation, or one that a policy blocks.
	"accessdenied":        tenantry.Denied,
	"erroraccessdenied":   tenantry.Denied,
	"accessrestricted":    tenantry.Denied,
	"extensionerror":      tenantry.Denied,
	"authenticationerror": tenantry.Denied,
	"notallowed":          tenantry.Denied,
	"resourcelocked":      tenantry.Denied,
	"sharingdisabled":     tenantry.Denied,

	// The tenant's consent.
	"authorization_requestdenied": tenantry.Reconnect,
	"invalidauthenticationtoken":  tenantry.Reconnect,
	"unauthenticated":             tenantry.Reconnect,

	// Delta links that are no longer good.
	"resyncrequired":                 tenantry.Resync,
	"resyncapplydifferences":         tenantry.Resync,
	"resyncchangesapplydifferences":  tenantry.Resync,
	"resyncuploaddifferences":        tenantry.Resync,
	"resyncchangesuploaddifferences": tenantry.Resync,
	"syncstatenotfound":              tenantry.Resync,
	"syncstateinvalid":               tenantry.Resync,

	// Gone or never there.
	"itemnotfound":             tenantry.NotFound,
	"erroritemnotfound":        tenantry.NotFound,
	"errorfoldernotfound":      tenantry.NotFound,
	"errorsyncfoldernotfound":  tenantry.NotFound,
	"request_resourcenotfound": tenantry.NotFound,
	"resourcenotfound":         tenantry.NotFound,
	"notfound":                 tenantry.NotFound,

	// One item that cannot be read for good.
	"errorcorruptdata":              tenantry.Poison,
	"errorcannotopenfileattachment": tenantry.Poison,
	"errorinvalidrecipients":        tenantry.Poison,
	"malwaredetected":               tenantry.Poison,
	"virussuspicious":               tenantry.Poison,

	// The target is full.
	"quotalimitreached":   tenantry.Capacity,
	"errorquotaexceeded":  tenantry.Capacity,
	"insufficientstorage": tenantry.Capacity,

	// The state is not what the request assumed.
	"namealreadyexists":     tenantry.Conflict,
	"upload_name_conflict":  tenantry.Conflict,
	"errorfolderexists":     tenantry.Conflict,
	"resourcemodified":      tenantry.Conflict,
	"entitytagdoesnotmatch": tenantry.Conflict,

	// Never to be repeated as it is.
	"invalidrequest":           tenantry.Invalid,
	"invalidrange":             tenantry.Invalid,
	"notsupported":             tenantry.Invalid,
	"request_badrequest":       tenantry.Invalid,
	"request_unsupportedquery": tenantry.Invalid,
	"errorattachmentsizeshouldnotbelessthanminimumsize": tenantry.Invalid,
}

// kindByMessage holds the conditions that only Graph's words tell apart, in
// lower case (seen in the field; messages may change, so these can only miss).
var kindByMessage = []struct {
	words string
	kind  tenantry.Kind
}{
	{"mysite not found", tenantry.Absent},
	{"unable to retrieve user's mysite url", tenantry.Absent},
	{"tenant does not have a spo license", tenantry.Absent},
	{"exists in an archive mailbox", tenantry.Absent}, // the in-place archive, which v1.0 does not reach
	{"subscription within the tenant has lapsed", tenantry.Reconnect},
	{"io error during request payload read", tenantry.Transient},
	{"requested site could not be found", tenantry.NotFound},
}

// kindByStatus is the last resort.
var kindByStatus = map[int]tenantry.Kind{
	http.StatusUnauthorized:        tenantry.Reconnect,
	http.StatusPaymentRequired:     tenantry.Denied,
	http.StatusForbidden:           tenantry.Denied,
	http.StatusNotFound:            tenantry.NotFound,
	http.StatusRequestTimeout:      tenantry.Transient,
	http.StatusConflict:            tenantry.Conflict,
	http.StatusGone:                tenantry.Resync,
	http.StatusPreconditionFailed:  tenantry.Conflict,
	http.StatusLocked:              tenantry.Denied,
	http.StatusFailedDependency:    tenantry.Transient,
	http.StatusTooManyRequests:     tenantry.Throttled,
	http.StatusNotImplemented:      tenantry.Invalid,
	http.StatusInsufficientStorage: tenantry.Capacity,
	statusBandwidthExceeded:        tenantry.Throttled,
}

// statusBandwidthExceeded is what drive services answer above a bandwidth cap.
const statusBandwidthExceeded = 509

// kindOf says what to do about a fault: statuses that leave no doubt, then the
// message, then the code, then the status.
func kindOf(f *fault) tenantry.Kind {
	code := strings.ToLower(f.code)
	switch f.status {
	case http.StatusTooManyRequests, statusBandwidthExceeded:
		return tenantry.Throttled
	case http.StatusServiceUnavailable:
		// SharePoint's way to throttle; without a time it is plain overload.
		if f.wait > 0 {
			return tenantry.Throttled
		}
	case http.StatusUnauthorized:
		// "authenticationError" is Exchange's word for a mailbox without a
		// licence, too: it must not disconnect the tenant.
		if !f.open && kindByCode[code] != tenantry.Denied {
			return tenantry.Reconnect
		}
		return tenantry.Denied
	case http.StatusGone:
		if f.open { // an address that has ended, not a delta link
			return tenantry.NotFound
		}
	}
	text := strings.ToLower(f.message)
	for _, m := range kindByMessage {
		if strings.Contains(text, m.words) {
			return m.kind
		}
	}
	if kind, ok := kindByCode[code]; ok {
		return kind
	}
	if kind, ok := kindByStatus[f.status]; ok {
		return kind
	}
	if f.status >= http.StatusInternalServerError {
		return tenantry.Transient
	}
	return tenantry.Invalid
}
