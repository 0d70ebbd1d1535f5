package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// Identity is who a worker outside is: a file of mode 0600 that never leaves its machine.
type Identity struct {
	URL    string `json:"url"`              // of the API
	CA     string `json:"ca,omitempty"`     // PEM of the authorities its certificate may come from; "": the system's
	Worker string `json:"worker,omitempty"` // "" while it is pending
	Pool   string `json:"pool,omitempty"`
	Secret string `json:"secret"`
	Next   string `json:"next,omitempty"` // the secret that follows; either may be the one that is good
}

// LoadIdentity reads an identity. NotFound: there is none. Invalid: others on the machine may read it, or it is none.
func LoadIdentity(file string) (Identity, error) {
	op := "read the identity " + file
	var id Identity
	info, err := os.Stat(file)
	if errors.Is(err, fs.ErrNotExist) {
		return id, tenantry.E(tenantry.NotFound, op, err)
	}
	if err != nil {
		return id, tenantry.E(tenantry.Invalid, op, err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return id, tenantry.Errorf(tenantry.Invalid, "%s: others on this machine may read it (mode %o): chmod 600", op, info.Mode().Perm())
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return id, tenantry.E(tenantry.Invalid, op, err)
	}
	if err := json.Unmarshal(text, &id); err != nil || id.URL == "" || id.Secret == "" {
		return id, tenantry.Errorf(tenantry.Invalid, "%s: it is not what `worker enrol` writes", op)
	}
	return id, nil
}

// save writes the identity whole or not at all, and durably.
func (id Identity) save(file string) error {
	op := "write the identity " + file
	text, err := json.Marshal(id)
	if err != nil {
		return tenantry.E(tenantry.Internal, op, err)
	}
	temp, err := os.CreateTemp(filepath.Dir(file), ".identity-") // mode 0600
	if err != nil {
		return tenantry.E(tenantry.Invalid, op, err)
	}
	defer func() { _ = os.Remove(temp.Name()) }() // it has moved, unless something failed
	_, err = temp.Write(append(text, '\n'))
	err = errors.Join(err, temp.Sync(), temp.Close())
	if err == nil {
		err = os.Rename(temp.Name(), file)
	}
	if err == nil {
		err = syncFolder(filepath.Dir(file))
	}
	if err != nil {
		return tenantry.E(tenantry.Invalid, op, err)
	}
	return nil
}

func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	defer folder.Close()
	return folder.Sync()
}

// Enrolment is what joins a pool.
type Enrolment struct {
	File  string // of the identity
	URL   string // of the API
	CA    string // PEM, "" for the system's authorities
	Token tenantry.Secret
	Pool  string // that it has to be; "": whichever the token is for
	Name  string // of the machine
}

// Enrol joins a pool by a one-time token and returns who the worker is. The secret is written before it is used: interrupted
// anywhere, it is asked again with the same token, within an hour. Conflict: the machine has joined already. Unauthorized, with the
// code that says why: the token is good for nothing; what was written is removed again.
func Enrol(ctx context.Context, e Enrolment) (Identity, error) {
	id, err := LoadIdentity(e.File)
	switch {
	case err == nil && id.Worker != "":
		return id, tenantry.Errorf(tenantry.Conflict, "this machine is worker %s of the pool %s already: revoke that and remove %s to join anew", id.Worker, id.Pool, e.File)
	case err != nil && tenantry.KindOf(err) != tenantry.NotFound:
		return id, err
	case err != nil:
		id = Identity{Secret: freshSecret()}
	}
	id.URL, id.CA = strings.TrimRight(e.URL, "/"), e.CA
	c, err := newClient(id, "")
	if err != nil {
		return id, err
	}
	if err := id.save(e.File); err != nil {
		return id, err
	}
	var joined enrolAnswer
	err = c.call(ctx, "enrol", enrolRequest{Token: e.Token.Reveal(), Pool: e.Pool, Name: e.Name, Hash: hashOf(id.Secret)}, &joined)
	if kind := tenantry.KindOf(err); kind == tenantry.Unauthorized || kind == tenantry.Invalid {
		_ = os.Remove(e.File) // it is pending for nothing; if it stays, the next token takes it up
	}
	if err != nil {
		return id, err
	}
	id.Worker, id.Pool = joined.Worker, joined.Pool
	return id, id.save(e.File)
}
