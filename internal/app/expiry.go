package app

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"os"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

const (
	// expiryEvery is how often a worker looks at the provider's credentials: several times within
	// catalog.WarningMemory, so that one look may fail.
	expiryEvery = time.Hour
	// expiryTime bounds one look.
	expiryTime = time.Minute
)

// expiryWatch warns of the provider's own credentials that end soon, have ended or are refused: those given by the
// API, and what this worker is configured with. Every worker looks: what they are configured with may differ, and
// only they have it. What several of them see is one warning.
type expiryWatch struct {
	fleet *catalog.Fleet
	cfg   Config
	log   *zap.Logger
}

// run looks at once and then every hour, until ctx ends.
func (w expiryWatch) run(ctx context.Context) {
	ticker := time.NewTicker(expiryEvery)
	defer ticker.Stop()
	for {
		if err := w.look(ctx, time.Now()); err != nil && ctx.Err() == nil {
			w.log.Warn("the end of our own credentials could not be looked at", zap.Error(err))
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (w expiryWatch) look(ctx context.Context, now time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, expiryTime)
	defer cancel()
	given, err := w.fleet.Credentials(ctx)
	if err != nil {
		return err
	}
	list := given
	if !backsUp(given) { // else what is configured is not used
		list = append(list, w.configured()...)
	}
	for _, c := range list {
		detail := "the provider's credential " + c.ID + " of application " + c.ClientID + ": " + c.Warning(now)
		if err := w.tell(ctx, c.ID, c.Alarm(now), detail, now); err != nil {
			return err
		}
	}
	if w.cfg.FederatedTokenFile == "" {
		return nil
	}
	cause, detail := "", tokenFileWarning(w.cfg.FederatedTokenFile, now)
	if detail != "" {
		cause = catalog.AlarmCredentialLast
	}
	return w.tell(ctx, "federated-token-file", cause, detail, now)
}

// tell raises the warning of a cause about one credential, "" for none, and ends the others about it.
func (w expiryWatch) tell(ctx context.Context, subject, raised, detail string, now time.Time) error {
	for _, cause := range catalog.CredentialAlarms() {
		var err error
		if cause == raised {
			err = w.fleet.Warn(ctx, catalog.ProviderWarning{Cause: cause, Subject: subject, Detail: detail}, now)
		} else {
			err = w.fleet.EndWarning(ctx, cause, subject)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// backsUp reports whether one of the credentials takes the place of the configured one.
func backsUp(given []catalog.Credential) bool {
	for _, c := range given {
		if c.Purpose == tenantry.ToBackup {
			return true
		}
	}
	return false
}

// configured is the certificate or secret that this worker is configured with, as far as it can be known when it
// ends: a secret does not say so itself.
func (w expiryWatch) configured() []catalog.Credential {
	c := catalog.Credential{ClientID: w.cfg.ClientID}
	switch {
	case w.cfg.Certificate != "":
		text, err := os.ReadFile(w.cfg.Certificate)
		if err != nil {
			return nil // it was read when the program started, and is in use: whoever replaces it is at it
		}
		cert, err := tenantry.ReadCertificate(text)
		if err != nil {
			return nil
		}
		c.ID, c.ExpiresAt = "certificate/"+cert.Fingerprint[:16], cert.Ends
	case w.cfg.ClientSecret.Reveal() != "" && w.cfg.ClientSecretEnds != "":
		ends, err := secretEnds(w.cfg.ClientSecretEnds)
		if err != nil {
			return nil // Validate refuses it
		}
		c.ID, c.ExpiresAt = "client-secret", ends
	default:
		return nil
	}
	return []catalog.Credential{c}
}

// secretEnds reads the day on which a secret ends, as Entra shows it.
func secretEnds(day string) (time.Time, error) { return time.Parse(time.DateOnly, day) }

// tokenFileWarning says what is wrong with the federated token that this worker reads for every sign-in; "" if
// nothing. Such tokens live for hours, and something renews them: nothing is wrong before one has ended.
func tokenFileWarning(file string, now time.Time) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return "federated-token-file cannot be read: nobody can sign in with it"
	}
	if ends, ok := tokenEnds(string(text)); ok && !ends.After(now) {
		return "the token in federated-token-file ended at " + ends.UTC().Format(time.RFC3339) + ": see to what renews it"
	}
	return ""
}

// tokenEnds reads when a JSON web token ends (RFC 7519, 4.1.4); nobody relies on it, so that its signature is of no
// interest.
func tokenEnds(token string) (time.Time, bool) {
	parts := strings.Split(strings.TrimSpace(token), ".")
	if len(parts) != 3 {
		return time.Time{}, false
	}
	body, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return time.Time{}, false
	}
	var claims struct {
		Ends float64 `json:"exp"`
	}
	if err := json.Unmarshal(body, &claims); err != nil || claims.Ends <= 0 || claims.Ends > 1<<40 {
		return time.Time{}, false
	}
	return time.Unix(int64(claims.Ends), 0), true
}
