package apiclient_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/apiclient"
	"github.com/tenantry/tenantry/internal/tenantry"
)

func serve(t *testing.T, handler http.HandlerFunc) *apiclient.ClientWithResponses {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	client, err := apiclient.New(server.URL+"/", tenantry.NewSecret("tenantry_x"))
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func TestRequestsCarryTokenAndPlainParameters(t *testing.T) {
	client := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if got := r.Header.Get("Authorization"); got != "Bearer tenantry_x" {
			t.Errorf("authorization %q", got)
		}
		if r.URL.String() != "/v1/tenants" {
			t.Errorf("asked %s, want no empty parameters", r.URL)
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"items":[{"id":"t-1","name":"Contoso","state":"pending"}]}`)
	})
	answer, err := client.ListTenantsWithResponse(t.Context(), &apiclient.ListTenantsParams{})
	if err != nil {
		t.Fatal(err)
	}
	if got := answer.JSON200.Items[0]; got.Name != "Contoso" || !got.LastSyncAt.IsZero() {
		t.Errorf("tenant %+v", got)
	}
}

// IDs may hold anything: they stay one path segment.
func TestPathParametersAreEscaped(t *testing.T) {
	client := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.EscapedPath(), "/items/a%2Fb%20c=") {
			t.Errorf("path %s", r.URL.EscapedPath())
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"id":"a/b c="}`)
	})
	answer, err := client.GetItemWithResponse(t.Context(), "t-1", "u-1", "mailbox", 7, "a/b c=")
	if err != nil || answer.JSON200.Id != "a/b c=" {
		t.Errorf("%v", err)
	}
}

func TestRefusalsAreErrors(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		retry  string
		body   string
		kind   tenantry.Kind
		code   string
		words  []string
	}{
		"problem": {422, "", `{"kind":"invalid","title":"The request is not valid","status":422,"type":"x","detail":"validation failed: body.at: bad",
			"errors":[{"location":"body.at","message":"bad"},{"location":"body.name","message":"blank"}]}`, tenantry.Invalid, "", []string{"body.at: bad", "body.name: blank"}},
		"code":  {503, "7", `{"kind":"shared","title":"T","status":503,"type":"x","detail":"open bucket","code":"NoSuchBucket"}`, tenantry.Shared, "NoSuchBucket", []string{"open bucket"}},
		"title": {500, "", `{"kind":"internal","title":"Something went wrong","status":500,"type":"x"}`, tenantry.Internal, "", []string{"Something went wrong"}},
		"proxy": {502, "", `<html>bad gateway</html>`, tenantry.Transient, "", []string{"502", "/v1/tenants/t-1"}},
		"other": {404, "", `{}`, tenantry.NotFound, "", []string{"404"}},
		"login": {401, "", ``, tenantry.Unauthorized, "", []string{"401"}},
		"odd":   {302, "", ``, tenantry.Internal, "", []string{"302"}},
	} {
		t.Run(name, func(t *testing.T) {
			client := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/problem+json")
				if c.retry != "" {
					w.Header().Set("Retry-After", c.retry)
				}
				w.WriteHeader(c.status)
				fmt.Fprint(w, c.body)
			})
			_, err := client.GetTenantWithResponse(t.Context(), "t-1")
			if tenantry.KindOf(err) != c.kind || tenantry.CodeOf(err) != c.code {
				t.Fatalf("%s %q: %v", tenantry.KindOf(err), tenantry.CodeOf(err), err)
			}
			for _, w := range c.words {
				if strings.Count(err.Error(), w) != 1 {
					t.Errorf("%q does not say %q once", err, w)
				}
			}
			if wait := time.Until(tenantry.UntilOf(err)); (c.retry != "") != (wait > 5*time.Second && wait < 8*time.Second) {
				t.Errorf("try again in %v", wait)
			}
		})
	}
}

func TestUnreachable(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	client, err := apiclient.New(server.URL, tenantry.NewSecret("x"))
	if err != nil {
		t.Fatal(err)
	}
	server.Close()
	if _, err := client.GetTenantWithResponse(t.Context(), "t-1"); tenantry.KindOf(err) != tenantry.Transient {
		t.Errorf("%s: %v", tenantry.KindOf(err), err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := client.GetTenantWithResponse(ctx, "t-1"); tenantry.KindOf(err) != tenantry.Canceled {
		t.Errorf("%s: %v", tenantry.KindOf(err), err)
	}
}

func TestNewNamesWhatIsWrong(t *testing.T) {
	for word, args := range map[string][2]string{"url": {"backup.example.com", "x"}, "token": {"https://backup.example.com", ""}} {
		_, err := apiclient.New(args[0], tenantry.NewSecret(args[1]))
		if tenantry.KindOf(err) != tenantry.Invalid || !strings.Contains(err.Error(), word) {
			t.Errorf("%v, want Invalid naming %s", err, word)
		}
	}
}
