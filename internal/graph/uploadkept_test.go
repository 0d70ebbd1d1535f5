package graph

import (
	"bytes"
	"context"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/graphsim"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// stored is a content to upload.
func stored(content []byte) tenantry.Upload {
	return tenantry.Upload{
		Size: int64(len(content)), Version: digestOf(content),
		Open: func(_ context.Context, from int64) (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(content[from:])), nil
		},
	}
}

// sized is a content that says of itself that it has size bytes.
func sized(size int64, r io.Reader) tenantry.Upload {
	return tenantry.Upload{Size: size, Open: func(context.Context, int64) (io.ReadCloser, error) { return io.NopCloser(r), nil }}
}

// shelf keeps upload sessions in memory.
type shelf struct {
	mu   sync.Mutex
	kept map[string]tenantry.Secret
	ends time.Time // of the session that was kept last
}

func (s *shelf) Find(_ context.Context, name string) (tenantry.Secret, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kept[name], nil
}

func (s *shelf) Keep(_ context.Context, name string, session tenantry.Secret, ends time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kept == nil {
		s.kept = map[string]tenantry.Secret{}
	}
	s.kept[name], s.ends = session, ends
	return nil
}

func (s *shelf) Drop(_ context.Context, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.kept, name)
	return nil
}

func (s *shelf) only(t *testing.T) tenantry.Secret {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.kept) != 1 {
		t.Fatalf("%d sessions are kept", len(s.kept))
	}
	for _, session := range s.kept {
		return session
	}
	return tenantry.Secret{}
}

// errTold is a reader that was told to stop.
var errTold = tenantry.Errorf(tenantry.Canceled, "told to stop")

// cutAt is a content that can be read up to a byte, and notes from where it was read.
func cutAt(content []byte, at int64, froms *[]int64) tenantry.Upload {
	f := stored(content)
	f.Open = func(_ context.Context, from int64) (io.ReadCloser, error) {
		*froms = append(*froms, from)
		if from >= at {
			return io.NopCloser(bytes.NewReader(content[from:])), nil
		}
		return io.NopCloser(io.MultiReader(bytes.NewReader(content[from:at]), failing{})), nil
	}
	return f
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errTold }

// driveOf is the root of a user's drive.
func driveOf(t *testing.T, tenant *Tenant, user string) string {
	t.Helper()
	drive, err := tenant.DefaultDrive(t.Context(), OfUser, user)
	must(t, err)
	root, err := tenant.DriveRoot(t.Context(), drive)
	must(t, err)
	return drive + "/" + root
}

// messageOf is a new message of a user.
func messageOf(t *testing.T, tenant *Tenant, user string) string {
	t.Helper()
	inbox, err := tenant.MailFolderID(t.Context(), user, "inbox")
	must(t, err)
	message, err := tenant.CreateMessage(t.Context(), user, inbox, []byte(`{"subject":"long"}`))
	must(t, err)
	return message
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%v (%s)", err, tenantry.KindOf(err))
	}
}

// TestUploadGoesOn interrupts uploads, to a drive and to a message, in their middle: the next call for the same content
// sends what is missing and nothing else; one for another content, or whose session is gone, begins anew.
func TestUploadGoesOn(t *testing.T) {
	for name, to := range map[string]struct {
		fragment int64
		upload   func(ctx context.Context, tenant *Tenant, user, place string, f tenantry.Upload) error
		place    func(t *testing.T, tenant *Tenant, user string) string
		content  func(t *testing.T, tenant *Tenant, user, place string) []byte
	}{
		"file": {
			driveFragment,
			func(ctx context.Context, tenant *Tenant, user, place string, f tenantry.Upload) error {
				drive, root, _ := strings.Cut(place, "/")
				_, err := tenant.Upload(ctx, drive, root, "long.bin", "fail", time.Time{}, time.Time{}, f)
				return err
			},
			driveOf,
			func(t *testing.T, tenant *Tenant, _, place string) []byte {
				drive, root, _ := strings.Cut(place, "/")
				raw, err := tenant.DriveChild(t.Context(), drive, root, "long.bin")
				must(t, err)
				id, err := idOf("test", raw)
				must(t, err)
				body, err := tenant.Download(t.Context(), drive, id, "", 0)
				must(t, err)
				defer body.Close()
				got, err := io.ReadAll(body)
				must(t, err)
				return got
			},
		},
		"attachment": {
			attachmentFragment,
			func(ctx context.Context, tenant *Tenant, user, place string, f tenantry.Upload) error {
				return tenant.UploadAttachment(ctx, user, OfMessage, place, "long.bin", "application/octet-stream", "", false, f)
			},
			messageOf,
			func(t *testing.T, tenant *Tenant, user, place string) []byte {
				list, _ := rawRound(t, "", func(link string) (RawPage, error) {
					return tenant.Attachments(t.Context(), user, OfMessage, place, link)
				})
				if len(list) != 1 {
					t.Fatalf("%d attachments", len(list))
				}
				id, err := idOf("test", list[0])
				must(t, err)
				body, err := tenant.AttachmentContent(t.Context(), user, OfMessage, place, id)
				must(t, err)
				defer body.Close()
				got, err := io.ReadAll(body)
				must(t, err)
				return got
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			server, sim, tenant := simulated(t, graphsim.TenantSpec{Users: 1})
			sim.Consent()
			user := sim.Users()[0].ID
			place := to.place(t, tenant, user)
			kept := &shelf{}
			tenant = tenant.KeepSessions(kept)
			content := random(int(3*to.fragment + 12345))
			size := int64(len(content))

			var froms []int64
			err := to.upload(t.Context(), tenant, user, place, cutAt(content, 2*to.fragment+1, &froms))
			wantKind(t, err, tenantry.Canceled)
			first := kept.only(t)
			if strings.Contains(err.Error(), "http") {
				t.Errorf("the refusal shows an address: %v", err)
			}
			if until := time.Until(kept.ends); until <= 0 || until > time.Hour {
				t.Errorf("the session is said to end in %v", until)
			}

			// Another content of the same size does not continue it.
			other := bytes.Clone(content)
			other[size-1]++
			wantKind(t, to.upload(t.Context(), tenant, user, place, cutAt(other, to.fragment+1, &froms)), tenantry.Canceled)
			if len(kept.kept) != 2 || froms[1] != 0 {
				t.Errorf("%d sessions are kept, and the other content was read from %d", len(kept.kept), froms[1])
			}

			if err := to.upload(t.Context(), tenant, user, place, cutAt(content, 0, &froms)); err != nil {
				t.Fatal(err)
			}
			if froms[2] != 2*to.fragment {
				t.Errorf("the rest was read from %d, of which %d had been sent", froms[2], 2*to.fragment)
			}
			if !bytes.Equal(to.content(t, tenant, user, place), content) {
				t.Error("what was uploaded is not the content")
			}

			// The other one is not gone on with: it ends, and ends again.
			last := kept.only(t)
			for range 2 {
				must(t, tenant.EndUpload(t.Context(), last))
			}
			must(t, tenant.EndUpload(t.Context(), first)) // it is complete
			if n := len(server.OpenUploads()); n != 0 {
				t.Errorf("%d sessions are open", n)
			}
			wantKind(t, tenant.EndUpload(t.Context(), tenantry.NewSecret(`{"link":"https://evil.example/up"}`)), tenantry.Invalid)
		})
	}
}

// TestUploadWhoseSessionIsGone: a kept session that has expired is begun anew, at the first byte.
func TestUploadWhoseSessionIsGone(t *testing.T) {
	server, sim, tenant := simulated(t, graphsim.TenantSpec{Users: 1})
	sim.Consent()
	drive, root, _ := strings.Cut(driveOf(t, tenant, sim.Users()[0].ID), "/")
	kept := &shelf{}
	tenant = tenant.KeepSessions(kept)
	content := random(2*driveFragment + 12345)
	var froms []int64
	upload := func(at int64) error {
		_, err := tenant.Upload(t.Context(), drive, root, "long.bin", "fail", time.Time{}, time.Time{}, cutAt(content, at, &froms))
		return err
	}
	wantKind(t, upload(driveFragment+1), tenantry.Canceled)
	if list := server.OpenUploads(); len(list) != 1 || list[0].Received != driveFragment || list[0].Total != int64(len(content)) {
		t.Errorf("open sessions: %+v", list)
	}
	server.EndUploads()
	must(t, upload(0))
	if len(froms) != 2 || froms[1] != 0 || len(kept.kept) != 0 {
		t.Errorf("the content was read from %v, and %d sessions are kept", froms, len(kept.kept))
	}
}

// TestShortUploadsAreNotKept: what is sent again soon is not written down.
func TestShortUploadsAreNotKept(t *testing.T) {
	server, sim, tenant := simulated(t, graphsim.TenantSpec{Users: 1})
	sim.Consent()
	drive, root, _ := strings.Cut(driveOf(t, tenant, sim.Users()[0].ID), "/")
	kept := &shelf{}
	var froms []int64
	_, err := tenant.KeepSessions(kept).Upload(t.Context(), drive, root, "short.bin", "fail", time.Time{}, time.Time{},
		cutAt(random(keptFrom*driveFragment), driveFragment+1, &froms))
	wantKind(t, err, tenantry.Canceled)
	if len(kept.kept) != 0 || len(server.OpenUploads()) != 0 {
		t.Errorf("%d sessions are kept, %d are open", len(kept.kept), len(server.OpenUploads()))
	}
}
