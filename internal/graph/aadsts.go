package graph

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// signIn is what a class of AADSTS codes means to the fleet, and what to tell
// the person who can repair it.
type signIn struct {
	kind tenantry.Kind
	say  string
}

var (
	passing       = signIn{tenantry.Transient, "Microsoft's sign-in is in trouble for a moment"}
	noConsent     = signIn{tenantry.Reconnect, "the application has no consent in this tenant: consent again"}
	disabled      = signIn{tenantry.Reconnect, "the application is disabled in this tenant: enable it, or consent again"}
	blocked       = signIn{tenantry.Reconnect, "a conditional access policy of this tenant blocks the application"}
	noTenant      = signIn{tenantry.Reconnect, "this tenant does not exist, or not in this cloud"}
	otherCloud    = signIn{tenantry.Invalid, "this tenant lives in another cloud"}
	credential    = signIn{tenantry.Shared, "the application's own credential is wrong or expired"}
	clock         = signIn{tenantry.Shared, "the client assertion is outside its time: check the clock"}
	misbuilt      = signIn{tenantry.Shared, "the application's registration or configuration is wrong"}
	notSubscribed = signIn{tenantry.Denied, "this tenant has not subscribed to the service"}
	tenantBusy    = signIn{tenantry.Throttled, "Microsoft throttles the sign-in of this tenant"}
)

// signIns by AADSTS number (Microsoft, "Microsoft Entra authentication and
// authorization error codes"). An application that a tenant's administrator
// disables answers like one that Microsoft disabled (7000112); it counts as the
// tenant's, because one customer must not be able to stop the fleet.
var signIns = map[int]signIn{
	50196: passing, 90033: passing, 90006: passing, 90090: passing, 90024: passing, 50033: passing, 90012: passing,
	90055:  tenantBusy,
	700016: noConsent, 700011: noConsent, 65001: noConsent, 650056: noConsent, 650057: noConsent, 65005: noConsent,
	500011: noConsent, 90094: noConsent, 90095: noConsent,
	650052:  notSubscribed,
	7000112: disabled, 70001: disabled, 1000031: disabled,
	53003: blocked, 530032: blocked, 530035: blocked,
	90002: noTenant,
	90038: otherCloud, 900382: otherCloud, 900432: otherCloud,
	7000215: credential, 7000222: credential, 700027: credential, 50012: credential, 7000218: credential,
	700030: credential, 50027: credential,
	500133: clock, 50013: clock, 700024: clock,
	70011: misbuilt, 28002: misbuilt, 700022: misbuilt, 50194: misbuilt, 50011: misbuilt, 900971: misbuilt, 900144: misbuilt,
}

// signInPause is how long a tenant whose sign-in is throttled is left alone
// when the answer names no time.
const signInPause = 5 * time.Minute

// refused is the error of a token request that failed. Its text carries the
// AADSTS number and the trace, never the credential.
func refused(op string, err error, now time.Time) *tenantry.Error {
	var r *oauth2.RetrieveError
	if !errors.As(err, &r) {
		return unreached(op, err)
	}
	number, cause := readRefusal(r)
	class := classOf(number, r)
	e := &tenantry.Error{Kind: class.kind, Op: op, Err: cause}
	if class.say != "" {
		e.Op += ": " + class.say
	}
	if number != 0 {
		e.Code = "AADSTS" + strconv.Itoa(number)
	}
	if wait := waitOf(r.Response.Header, now); wait > 0 {
		e.Until = now.Add(wait)
	} else if e.Kind == tenantry.Throttled {
		e.Until = now.Add(signInPause)
	}
	return e
}

// classOf knows the number, else goes by OAuth's error and the status.
func classOf(number int, r *oauth2.RetrieveError) signIn {
	status := r.Response.StatusCode
	if class, ok := signIns[number]; ok {
		return class
	}
	switch {
	case status == http.StatusTooManyRequests:
		return tenantBusy
	case status >= http.StatusInternalServerError, status < http.StatusBadRequest,
		r.ErrorCode == "temporarily_unavailable", r.ErrorCode == "":
		return passing
	case strings.Contains(strings.ToLower(r.ErrorDescription), "subscription within the tenant has lapsed"):
		return signIn{tenantry.Reconnect, "the tenant's subscription has lapsed"}
	case r.ErrorCode == "unauthorized_client":
		return noConsent
	}
	// An unknown refusal must neither disconnect the tenant nor stop the fleet.
	return signIn{kind: tenantry.Internal}
}

var aadsts = regexp.MustCompile(`AADSTS(\d+)`)

// readRefusal returns the AADSTS number (error_codes first, the text second;
// 0 when there is none) and a cause fit for logs.
func readRefusal(r *oauth2.RetrieveError) (int, error) {
	var body struct {
		Codes []int  `json:"error_codes"`
		Trace string `json:"trace_id"`
	}
	_ = json.Unmarshal(r.Body, &body) // gateways send HTML
	number := 0
	if len(body.Codes) > 0 {
		number = body.Codes[0]
	} else if m := aadsts.FindStringSubmatch(r.ErrorDescription); m != nil {
		number, _ = strconv.Atoi(m[1])
	}
	text := fmt.Sprintf("sign-in answered %d %s", r.Response.StatusCode, r.ErrorCode)
	if first, _, _ := strings.Cut(r.ErrorDescription, "\n"); first != "" {
		text += ": " + presentable(first)
	}
	if body.Trace != "" {
		text += " (trace " + body.Trace + ")"
	}
	return number, errors.New(text)
}
