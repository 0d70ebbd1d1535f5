package graph

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/tenantry/tenantry/internal/tenantry"
	"github.com/tenantry/tenantry/internal/throttle"
)

// A long upload survives whoever sends it: its session is kept before the first fragment leaves, and the next call that
// uploads the same content to the same place goes on where Microsoft says that it stands ("driveItem: createUploadSession",
// resuming an upload in progress).
//
//	(none) ──create──> kept ──fragments──> done, forgotten
//	   ^                |  ^                 | refused for good: canceled, forgotten
//	   |                |  +-- interrupted, killed: status names the next byte
//	   +-- gone, ended, names no byte: canceled, created anew

// keptFrom is of how many fragments an upload has to be more for its session to be kept: what has less is sent again
// sooner than a session is written down.
const keptFrom = 2

// KeepSessions returns a handle whose long uploads outlive their calls.
func (t *Tenant) KeepSessions(s tenantry.UploadSessions) *Tenant {
	r := *t
	r.sessions = s
	return &r
}

// sessionName identifies what is uploaded where.
func sessionName(what ...string) string {
	h := sha256.New()
	for _, w := range what {
		h.Write([]byte(strconv.Quote(w)))
	}
	return hex.EncodeToString(h.Sum(nil)[:20])
}

// keptSession is what is kept of a session.
type keptSession struct {
	Link    string `json:"link"`
	Mailbox string `json:"mailbox,omitempty"`
}

func (s session) sealed() (tenantry.Secret, error) {
	text, err := json.Marshal(keptSession{s.link, s.mailbox})
	return tenantry.NewSecret(string(text)), err
}

// opened reads a session that was kept. ok is false if it is none that may be asked.
func (t *Tenant) opened(kept tenantry.Secret) (k keptSession, ok bool) {
	err := json.Unmarshal([]byte(kept.Reveal()), &k)
	return k, err == nil && t.client.at.contentLink(k.Link)
}

// enter finds the session that is kept for s, or creates one, and returns the byte at which it stands.
func (t *Tenant) enter(ctx context.Context, s *session) (from int64, err error) {
	if s.kept {
		known, err := t.sessions.Find(ctx, s.name)
		if err != nil {
			return 0, err
		}
		if k, ok := t.opened(known); ok {
			s.link = k.Link
			if from, ok, err = t.standing(ctx, *s); ok || err != nil {
				return from, err
			}
			t.cancelSession(ctx, *s)
		}
	}
	var ends time.Time
	if s.link, ends, err = s.create(ctx); err != nil || !s.kept {
		return 0, err
	}
	sealed, err := s.sealed()
	if err == nil {
		err = t.sessions.Keep(ctx, s.name, sealed, ends)
	}
	if err != nil {
		t.cancelSession(ctx, *s)
	}
	return 0, err
}

// standing asks a session where it stands; ok is false if it is of no use any more. An error is for who comes next.
func (t *Tenant) standing(ctx context.Context, s session) (from int64, ok bool, err error) {
	err = t.client.policy.retry(ctx, false, func() error {
		var err error
		from, err = t.sessionStatus(ctx, s)
		return lost(err)
	})
	switch {
	case err == nil:
		return from, from >= 0 && from < s.size, nil
	case interrupted(err):
		return 0, false, err
	}
	return 0, false, nil
}

// interrupted reports whether an upload failed for a reason that leaves its session as good as it was.
func interrupted(err error) bool {
	if errors.Is(err, errNoUse) {
		return false
	}
	switch tenantry.KindOf(err) {
	case tenantry.Transient, tenantry.Throttled, tenantry.Canceled, tenantry.Shared, tenantry.Fenced, tenantry.Reconnect:
		return true
	}
	return false
}

// forget drops a session that has ended. One that stays nobody finds any more, since its file is there or was given up;
// it goes with its task's (EndUpload).
func (t *Tenant) forget(ctx context.Context, s session) {
	if !s.kept {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cancelTimeout)
	defer cancel()
	_ = t.sessions.Drop(ctx, s.name)
}

// EndUpload has Microsoft drop what a session holds that was kept and that nobody goes on with. One that has ended is fine.
func (t *Tenant) EndUpload(ctx context.Context, kept tenantry.Secret) error {
	const op = "end an upload session"
	k, ok := t.opened(kept)
	if !ok {
		return tenantry.Errorf(tenantry.Invalid, "%s: it is none of this cloud", op)
	}
	cost := t.sharePoint(oneItem, true)
	if k.Mailbox != "" {
		cost = t.outlookWrite(k.Mailbox, 0)
	}
	err := t.client.policy.retry(ctx, false, func() error { return t.deleteSession(ctx, op, k.Link, cost) })
	if errors.Is(err, errNoUse) {
		return nil
	}
	return err
}

func (t *Tenant) deleteSession(ctx context.Context, op, link string, cost throttle.Call) error {
	cost.UploadBytes = 0
	a, err := t.attempt(ctx, call{op: op, method: http.MethodDelete, url: link, open: true, cost: cost})
	if err != nil {
		return lost(err)
	}
	a.end()
	return nil
}
