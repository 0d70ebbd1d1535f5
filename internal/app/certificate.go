package app

import (
	"crypto/tls"
	"os"
	"sync"
	"time"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// certificate is a pair of PEM files that somebody renews while the program runs.
type certificate struct {
	cert, key string

	mu     sync.Mutex
	loaded *tls.Certificate
	of     [2]time.Time // when the files were written that it was loaded from
}

// get returns the certificate as tls.Config.GetCertificate does. Files that cannot be read
// while they are replaced leave the old one in use.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	written, err := c.written()
	if err == nil && c.loaded != nil && written == c.of {
		return c.loaded, nil
	}
	var fresh tls.Certificate
	if err == nil {
		fresh, err = tls.LoadX509KeyPair(c.cert, c.key)
	}
	switch {
	case err == nil:
		c.loaded, c.of = &fresh, written
	case c.loaded == nil:
		return nil, tenantry.E(tenantry.Invalid, "read tls-certificate "+c.cert+" and tls-key "+c.key, err)
	}
	return c.loaded, nil
}

func (c *certificate) written() (at [2]time.Time, err error) {
	for i, file := range []string{c.cert, c.key} {
		info, err := os.Stat(file)
		if err != nil {
			return at, err
		}
		at[i] = info.ModTime()
	}
	return at, nil
}
