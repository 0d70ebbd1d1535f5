package graph

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// DeviceCode is a sign-in that waits for a person (Microsoft identity platform, "OAuth 2.0 device authorization
// grant flow").
type DeviceCode struct {
	UserCode string
	Page     string          // where the person enters it
	Device   tenantry.Secret // by which PollDevice asks
	Expires  time.Time
	Every    time.Duration // between two polls
}

// SignIn is what a person allowed: a token that is good for an hour or so and has no successor.
type SignIn struct {
	DirectoryID string
	Token       tenantry.Secret
	Expires     time.Time
}

// registrar are the delegated permissions that registering an application takes (Graph permissions reference).
// offline_access is not among them: nothing long-lived is given out.
var registrar = []string{"Application.ReadWrite.All", "AppRoleAssignment.ReadWrite.All"}

// AskDeviceCode begins a sign-in to a directory (GUID or domain) by this client's application, which must allow
// public client flows. Errors are those of token requests.
func (c *Client) AskDeviceCode(ctx context.Context, directory string) (DeviceCode, error) {
	root := strings.TrimSuffix(c.at.scope, ".default")
	scope := root + strings.Join(registrar, " "+root) + " openid"
	var answer struct {
		DeviceCode string `json:"device_code"`
		UserCode   string `json:"user_code"`
		Page       string `json:"verification_uri"`
		Expires    int    `json:"expires_in"`
		Interval   int    `json:"interval"`
	}
	now := time.Now()
	err := c.signIn(ctx, "ask for a device code", directory, "devicecode", url.Values{"client_id": {c.cfg.ClientID}, "scope": {scope}}, &answer)
	if err != nil {
		return DeviceCode{}, err
	}
	return DeviceCode{
		UserCode: answer.UserCode, Page: answer.Page, Device: tenantry.NewSecret(answer.DeviceCode),
		Expires: now.Add(time.Duration(answer.Expires) * time.Second), Every: time.Duration(max(answer.Interval, 1)) * time.Second,
	}, nil
}

// PollDevice asks whether the person has signed in. Pending says not yet; Denied that the person refused; Absent
// that the code has expired or was used.
func (c *Client) PollDevice(ctx context.Context, directory string, device tenantry.Secret) (in SignIn, pending bool, err error) {
	const op = "wait for a sign-in"
	var answer struct {
		Token   string `json:"access_token"`
		Expires int    `json:"expires_in"`
	}
	now := time.Now()
	err = c.signIn(ctx, op, directory, "token", url.Values{
		"grant_type": {"urn:ietf:params:oauth:grant-type:device_code"}, "client_id": {c.cfg.ClientID}, "device_code": {device.Reveal()},
	}, &answer)
	switch tenantry.CodeOf(err) {
	case "authorization_pending", "slow_down":
		return SignIn{}, true, nil
	case "authorization_declined", "access_denied":
		return SignIn{}, false, tenantry.Errorf(tenantry.Denied, "%s: the person declined", op)
	case "expired_token", "bad_verification_code":
		return SignIn{}, false, tenantry.Errorf(tenantry.Absent, "%s: the code has expired, or was used", op)
	}
	if err != nil {
		return SignIn{}, false, err
	}
	grant, err := readGrant(answer.Token)
	return SignIn{
		DirectoryID: grant.DirectoryID, Token: tenantry.NewSecret(answer.Token), Expires: now.Add(time.Duration(answer.Expires) * time.Second),
	}, false, err
}

// signIn posts a form to the login host. The code of a refusal is OAuth's word for those that the device flow
// knows, else the AADSTS number.
func (c *Client) signIn(ctx context.Context, op, directory, what string, form url.Values, out any) error {
	address := c.at.login.JoinPath(url.PathEscape(directory), "oauth2/v2.0", what).String()
	ctx, cancel := context.WithTimeout(ctx, tokenTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(form.Encode()))
	if err != nil {
		return tenantry.E(tenantry.Invalid, op, err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := c.http.Do(req)
	if err != nil {
		return unreached(op, err)
	}
	defer func() { _ = resp.Body.Close() }() // it was read, or broke
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return unreached(op, err)
	}
	if resp.StatusCode == http.StatusOK {
		return json.Unmarshal(text, out)
	}
	r := &oauth2.RetrieveError{Response: resp, Body: text}
	var refusal struct{ Error, Description string }
	_ = json.Unmarshal(text, &refusal) // gateways send HTML
	r.ErrorCode = refusal.Error
	e := refused(op, r, time.Now())
	switch refusal.Error {
	case "authorization_pending", "slow_down", "authorization_declined", "access_denied", "expired_token", "bad_verification_code":
		e.Code = refusal.Error
	}
	return e
}
