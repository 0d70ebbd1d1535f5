package app

import (
	_ "time/tzdata" // a container image from scratch has no time zones

	_ "golang.org/x/crypto/x509roots/fallback" // and no certificate authorities
)
