package graphsim

import (
	"fmt"
	"net/http"
	"time"
)

// stsError is an answer of the token endpoint. The documented status is 400; a credential
// of the client that is wrong is 401 as in the OAuth standard.
type stsError struct {
	status int
	name   string
	code   int
	text   string
}

// stsCodes are the AADSTS errors that a service meets: their OAuth name and what they mean
// ("Microsoft Entra authentication and authorization error codes").
var stsCodes = map[int]struct {
	status int
	name   string
	text   string
}{
	28002:   {400, "invalid_request", "Provided value for the input parameter scope is not valid when requesting an access token."},
	50011:   {400, "invalid_request", "The redirect URI specified in the request does not match the redirect URIs configured for the application."},
	50012:   {401, "invalid_client", "Authentication failed: the certificate of the assertion is not accepted."},
	50013:   {401, "invalid_client", "Assertion failed signature validation or is outside of its validity."},
	50020:   {400, "invalid_grant", "User account from identity provider does not exist in tenant."},
	50033:   {400, "temporarily_unavailable", "A transient error has occurred. Please try again."},
	50034:   {400, "invalid_grant", "The user account does not exist in the directory."},
	50076:   {400, "interaction_required", "You must use multi-factor authentication to access the resource."},
	50079:   {400, "interaction_required", "You must enroll in multi-factor authentication to access the resource."},
	50105:   {400, "interaction_required", "The signed in user is not assigned to a role for the application."},
	50194:   {400, "invalid_request", "Application is not configured as a multi-tenant application. Usage of the /common endpoint is not supported."},
	50196:   {400, "invalid_request", "The server terminated an operation because it encountered a client request loop."},
	53003:   {400, "invalid_grant", "Access has been blocked by Conditional Access policies."},
	65001:   {400, "invalid_grant", "The user or administrator has not consented to use the application."},
	65004:   {400, "access_denied", "User declined to consent to access the app."},
	65005:   {400, "invalid_resource", "The resource is not in the list of requested permissions of the application registration."},
	70001:   {400, "unauthorized_client", "The application is disabled."},
	70008:   {400, "invalid_grant", "The refresh token has expired due to inactivity."},
	70011:   {400, "invalid_scope", "The provided value for the input parameter 'scope' is not valid."},
	70016:   {400, "authorization_pending", "OAuth 2.0 device flow error. Authorization is pending. Continue polling."},
	70021:   {400, "invalid_client", "No matching federated identity record found for presented assertion."},
	90002:   {400, "invalid_request", "Tenant not found. Check to make sure you have the correct tenant ID and are signing into the correct cloud."},
	90006:   {400, "temporarily_unavailable", "The service is temporarily unavailable. Please retry later."},
	90012:   {400, "temporarily_unavailable", "The request has timed out. Please retry later."},
	90024:   {400, "temporarily_unavailable", "The request budget was exceeded by a transient error. Please retry later."},
	90033:   {400, "temporarily_unavailable", "A transient error has occurred. Please try again."},
	90038:   {400, "invalid_request", "Tenant belongs to a national cloud."},
	90055:   {400, "temporarily_unavailable", "The tenant is throttled or blocked because of too many requests."},
	90090:   {400, "temporarily_unavailable", "The service returned a transient error. Please retry later."},
	90094:   {400, "access_denied", "Administrator consent is required."},
	90095:   {400, "access_denied", "Administrator consent is required: a request was sent."},
	500011:  {400, "invalid_resource", "The resource principal was not found in the tenant."},
	500133:  {401, "invalid_client", "Assertion is not within its valid time range."},
	530032:  {400, "invalid_grant", "Blocked by a security policy of the tenant."},
	530035:  {400, "invalid_grant", "Access has been blocked by security defaults."},
	650052:  {400, "invalid_request", "The app needs access to a service that the organization has not subscribed to or enabled."},
	650056:  {400, "invalid_client", "Misconfigured application: the permission is not listed, consent is missing, or identifier or certificate do not match."},
	650057:  {400, "invalid_resource", "The resource is not listed in the requested permissions of the application registration."},
	700011:  {400, "unauthorized_client", "Application was not found in the directory."},
	700016:  {400, "unauthorized_client", "Application was not found in the directory. This can happen if the application has not been installed by the administrator of the tenant or consented to by any user in the tenant."},
	700022:  {400, "invalid_scope", "The provided value for the input parameter scope is not valid because it contains more than one resource."},
	700027:  {401, "invalid_client", "The certificate used to sign the client assertion is not registered on the application, or the signature is invalid."},
	900144:  {400, "invalid_request", "The request body must contain the parameter."},
	900382:  {400, "invalid_request", "Confidential Client is not supported in Cross Cloud request."},
	900432:  {400, "invalid_request", "Confidential Client is not supported in Cross Cloud request."},
	900971:  {400, "invalid_request", "No reply address provided."},
	1000031: {400, "unauthorized_client", "The application cannot be accessed at this time. Contact your administrator."},
	7000112: {400, "unauthorized_client", "The application is disabled."},
	7000215: {401, "invalid_client", "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret ID."},
	7000218: {401, "invalid_client", "The request body must contain the following parameter: 'client_assertion' or 'client_secret'."},
	7000222: {401, "invalid_client", "The provided client secret keys are expired."},
	9001023: {400, "invalid_request", "The grant type is not supported over the /common or /consumers endpoints. Please use a tenant-specific endpoint."},
}

// aadsts is one of the codes, with what it is about.
func aadsts(code int, format string, args ...any) *stsError {
	known := stsCodes[code]
	return &stsError{known.status, known.name, code, known.text + " " + fmt.Sprintf(format, args...)}
}

func (e *stsError) write(w http.ResponseWriter) {
	w.Header().Set("Cache-Control", "no-store, no-cache")
	trace, correlation := newID(), newID()
	now := time.Now().UTC().Format("2006-01-02 15:04:05Z")
	writeJSON(w, e.status, map[string]any{
		"error": e.name,
		"error_description": fmt.Sprintf("AADSTS%d: %s Trace ID: %s Correlation ID: %s Timestamp: %s",
			e.code, e.text, trace, correlation, now),
		"error_codes": []int{e.code}, "timestamp": now, "trace_id": trace, "correlation_id": correlation,
		"error_uri": fmt.Sprintf("https://login.microsoftonline.com/error?code=%d", e.code),
	})
}

// RefuseTokens makes the token endpoint answer the next requests for this tenant with an
// AADSTS code, as conditional access (53003) or a disabled application (7000112) does;
// times below 1 means until code 0 ends it. Error: a code that the simulator does not know.
func (t *Tenant) RefuseTokens(code, times int) error {
	if _, known := stsCodes[code]; !known && code != 0 {
		return fmt.Errorf("graphsim: AADSTS%d is not known", code)
	}
	t.consent.mu.Lock()
	defer t.consent.mu.Unlock()
	t.consent.refusal, t.consent.refusals = code, times
	return nil
}

// refused takes one of the refusals that RefuseTokens asked for.
func (t *Tenant) refused() *stsError {
	t.consent.mu.Lock()
	defer t.consent.mu.Unlock()
	code := t.consent.refusal
	if code == 0 {
		return nil
	}
	if t.consent.refusals--; t.consent.refusals == 0 {
		t.consent.refusal = 0
	}
	return aadsts(code, "(directory '%s')", t.id)
}
