package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"testing"

	"go.uber.org/goleak"

	"github.com/tenantry/tenantry/internal/graphsim"
)

// The command announces what it serves, serves it, and ends with its context.
func TestCommand(t *testing.T) {
	defer goleak.VerifyNone(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	read, write := io.Pipe()
	cmd := command()
	cmd.SetArgs([]string{"--addr", "127.0.0.1:0", "--tenants", "2", "--users", "3", "--consent"})
	cmd.SetOut(write)
	ended := make(chan error, 1)
	go func() {
		err := cmd.ExecuteContext(ctx)
		ended <- errors.Join(err, write.Close())
	}()
	var ready announcement
	if err := json.NewDecoder(read).Decode(&ready); err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := (&http.Client{Transport: transport}).Get(ready.AdminURL + "/_sim/tenants/tenant2.example")
	if err != nil {
		t.Fatal(err)
	}
	var tenant graphsim.TenantInfo
	if err := json.NewDecoder(resp.Body).Decode(&tenant); err != nil || tenant.ID != ready.Tenants[1] || !tenant.Consented {
		t.Errorf("tenant %+v, announced %v: %v", tenant, ready.Tenants, err)
	}
	resp.Body.Close()
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
