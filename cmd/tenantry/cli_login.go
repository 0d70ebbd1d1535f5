package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/tenantry/tenantry/internal/signin"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// signIns are the sign-ins of this user by the address of the API that each is for: a
// token goes nowhere else. They lie in a file that only the user can read.
type signIns map[string]signin.Session

func signInFile() (string, error) {
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", tenantry.E(tenantry.Invalid, "find where to keep the sign-in", err)
	}
	return filepath.Join(dir, "tenantry", "sign-in.json"), nil
}

func readSignIns() (signIns, error) {
	file, err := signInFile()
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return signIns{}, nil
	}
	list := signIns{}
	if err == nil {
		err = json.Unmarshal(data, &list)
	}
	if err != nil {
		return nil, tenantry.E(tenantry.Invalid, "read "+file+" (remove it, and log in again)", err)
	}
	return list, nil
}

// write replaces the file at once, so that no other command reads half of it.
func (l signIns) write() error {
	file, err := signInFile()
	if err != nil {
		return err
	}
	data, err := json.MarshalIndent(l, "", "  ")
	if err != nil {
		return tenantry.E(tenantry.Internal, "write the sign-in", err)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return tenantry.E(tenantry.Invalid, "keep the sign-in", err)
	}
	fresh, err := os.CreateTemp(filepath.Dir(file), "sign-in-*") // for the user alone
	if err != nil {
		return tenantry.E(tenantry.Invalid, "keep the sign-in", err)
	}
	_, err = fresh.Write(data)
	if err = errors.Join(err, fresh.Close()); err == nil {
		err = os.Rename(fresh.Name(), file)
	}
	if err != nil {
		return tenantry.E(tenantry.Invalid, "keep the sign-in", errors.Join(err, os.Remove(fresh.Name())))
	}
	return nil
}

// signedIn returns the token of a sign-in at an API, renewed if it has to be; none is "".
func signedIn(ctx context.Context, address string) (tenantry.Secret, error) {
	list, err := readSignIns()
	if err != nil {
		return tenantry.Secret{}, err
	}
	s, ok := list[address]
	if !ok {
		return tenantry.Secret{}, nil
	}
	fresh, err := s.Fresh(ctx, time.Now())
	switch {
	case tenantry.KindOf(err) == tenantry.Unauthorized:
		return tenantry.Secret{}, tenantry.E(tenantry.Unauthorized, "use your sign-in: run tenantry login again", err)
	case err != nil:
		return tenantry.Secret{}, err
	case fresh != s:
		list[address] = fresh
		if err := list.write(); err != nil {
			return tenantry.Secret{}, err
		}
	}
	return tenantry.NewSecret(fresh.IDToken), nil
}

func loginCommand(c *connection) *cobra.Command {
	return &cobra.Command{
		Use: "login", Short: "Sign in with the provider of the installation, by a code that you type into a browser", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			address := c.address()
			issuer, client, err := providerOf(cmd.Context(), address)
			if err != nil {
				return err
			}
			session, err := signin.Device(cmd.Context(), issuer, client, func(page, code string) {
				cmd.PrintErrf("Open %s\nand check that it shows the code %s. Waiting ...\n", visible(page), visible(code))
			})
			if err != nil {
				return err
			}
			list, err := readSignIns()
			if err != nil {
				return err
			}
			list[address] = session
			if err := list.write(); err != nil {
				return err
			}
			cmd.PrintErrf("Signed in at %s.\n", address)
			return nil
		},
	}
}

func logoutCommand(c *connection) *cobra.Command {
	return &cobra.Command{
		Use: "logout", Short: "Forget the sign-in", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			list, err := readSignIns()
			if err != nil {
				return err
			}
			delete(list, c.address())
			return list.write()
		},
	}
}

// providerOf asks an API who signs people in.
func providerOf(ctx context.Context, address string) (issuer, client string, err error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address+"/login/provider", nil)
	if err != nil {
		return "", "", tenantry.Errorf(tenantry.Invalid, "url %q is not an absolute http or https URL", address)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return "", "", tenantry.E(tenantry.Transient, "ask "+address+" who signs people in", err)
	}
	defer answer.Body.Close()
	var told struct {
		Issuer   string `json:"issuer"`
		ClientID string `json:"client_id"`
	}
	switch err := json.NewDecoder(io.LimitReader(answer.Body, 1<<16)).Decode(&told); {
	case answer.StatusCode == http.StatusNotFound:
		return "", "", tenantry.Errorf(tenantry.Invalid, "%s has no provider to sign in with: set TENANTRY_TOKEN to a token", address)
	case err != nil || answer.StatusCode != http.StatusOK:
		return "", "", tenantry.Errorf(tenantry.Transient, "ask %s who signs people in: %s %w", address, answer.Status, err)
	}
	return told.Issuer, told.ClientID, nil
}
