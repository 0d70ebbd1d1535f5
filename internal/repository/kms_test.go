package repository_test

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// kmsServer speaks as much of the JSON protocol of AWS KMS as kmsRing uses, with real AES.
// It is a test of the protocol, not of KMS: no KMS can be run here.
type kmsServer struct {
	mu      sync.Mutex
	keys    map[string]*kmsKey // by ARN
	aliases map[string]string
	deny    bool
	fault   string        // that every call but DescribeKey answers
	hang    chan struct{} // every call waits until it is closed, if it is set
	cuts    int           // so many answers break off in the middle
	calls   int
}

type kmsKey struct {
	aead    cipher.AEAD
	deleted time.Time
}

type kmsCall struct {
	KeyID                  string `json:"KeyId"`
	AliasName, TargetKeyID string
	CiphertextBlob         []byte
	EncryptionContext      map[string]string
	PendingWindowInDays    int
}

func startKMS(t *testing.T) (*kmsServer, repository.KeyManager) {
	t.Helper()
	k := &kmsServer{keys: map[string]*kmsKey{}, aliases: map[string]string{}}
	srv := httptest.NewServer(k)
	t.Cleanup(srv.Close)
	ring, err := repository.OpenKMS(t.Context(), repository.KMSOptions{
		Region: "eu-central-1", Endpoint: srv.URL, Fleet: "test", AccessKey: "a", SecretKey: tenantry.NewSecret("s"),
	})
	must(t, err)
	return k, ring
}

func (k *kmsServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	k.mu.Lock()
	hang := k.hang
	k.mu.Unlock()
	if hang != nil {
		<-hang
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.calls++
	var in kmsCall
	action := strings.TrimPrefix(r.Header.Get("X-Amz-Target"), "TrentService.")
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil || !strings.HasPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256") {
		http.Error(w, "bad request", http.StatusBadRequest)
		return
	}
	if k.cuts > 0 {
		k.cuts--
		w.Header().Set("Content-Length", "1000")
		_, _ = w.Write([]byte(`{"KeyId": "arn:`))
		panic(http.ErrAbortHandler)
	}
	out, fault := k.answer(action, in)
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	if fault != "" {
		w.WriteHeader(http.StatusBadRequest)
		out = map[string]string{"__type": fault, "message": action}
	}
	_ = json.NewEncoder(w).Encode(out)
}

func (k *kmsServer) answer(action string, in kmsCall) (out any, fault string) {
	if k.deny {
		return nil, "AccessDeniedException"
	}
	if k.fault != "" && action != "DescribeKey" {
		return nil, k.fault
	}
	switch action {
	case "CreateKey":
		arn := fmt.Sprintf("arn:aws:kms:eu-central-1:1:key/%d", len(k.keys)+1)
		secret := make([]byte, 32)
		_, _ = rand.Read(secret)
		block, _ := aes.NewCipher(secret)
		aead, _ := cipher.NewGCMWithRandomNonce(block)
		k.keys[arn] = &kmsKey{aead: aead}
		return map[string]any{"KeyMetadata": map[string]any{"Arn": arn, "KeyId": arn}}, ""
	case "CreateAlias", "UpdateAlias":
		if _, taken := k.aliases[in.AliasName]; taken && action == "CreateAlias" {
			return nil, "AlreadyExistsException"
		}
		k.aliases[in.AliasName] = in.TargetKeyID
		return map[string]any{}, ""
	}
	arn := in.KeyID
	if strings.HasPrefix(arn, "alias/") {
		arn = k.aliases[arn]
	}
	key, ok := k.keys[arn]
	if !ok {
		return nil, "NotFoundException"
	}
	if action == "DescribeKey" {
		meta := map[string]any{"Arn": arn, "KeyId": arn, "KeyState": "Enabled"}
		if !key.deleted.IsZero() {
			meta["KeyState"], meta["DeletionDate"] = "PendingDeletion", float64(key.deleted.Unix())
		}
		return map[string]any{"KeyMetadata": meta}, ""
	}
	if !key.deleted.IsZero() {
		return nil, "KMSInvalidStateException"
	}
	return key.use(action, arn, in)
}

func (key *kmsKey) use(action, arn string, in kmsCall) (out any, fault string) {
	bound, _ := json.Marshal(in.EncryptionContext)
	switch action {
	case "GenerateDataKey":
		plain := make([]byte, 32)
		_, _ = rand.Read(plain)
		return map[string]any{"KeyId": arn, "Plaintext": plain, "CiphertextBlob": key.aead.Seal(nil, nil, plain, bound)}, ""
	case "Decrypt":
		plain, err := key.aead.Open(nil, nil, in.CiphertextBlob, bound)
		if err != nil {
			return nil, "InvalidCiphertextException"
		}
		return map[string]any{"KeyId": arn, "Plaintext": plain}, ""
	case "ScheduleKeyDeletion":
		key.deleted = time.Now().AddDate(0, 0, in.PendingWindowInDays)
		return map[string]any{"KeyId": arn, "DeletionDate": float64(key.deleted.Unix())}, ""
	}
	return nil, "UnsupportedOperationException"
}

func TestKMS(t *testing.T) {
	server, ring := startKMS(t)
	wrapped, id, err := ring.Wrap(t.Context(), "t-1", []byte("key material"))
	must(t, err)
	got, err := ring.Unwrap(t.Context(), "t-1", id, wrapped)
	if err != nil || string(got) != "key material" {
		t.Fatalf("unwrapped %q, %v", got, err)
	}
	if _, again, err := ring.Wrap(t.Context(), "t-1", []byte("x")); err != nil || again != id {
		t.Errorf("a second wrap made the key %s beside %s, %v", again, id, err)
	}
	if _, other, err := ring.Wrap(t.Context(), "t@2", []byte("x")); err != nil || other == id {
		t.Errorf("two tenants share the key %s, %v", other, err)
	}
	_, err = ring.Unwrap(t.Context(), "t@2", id, wrapped) // of another tenant
	wantKind(t, err, tenantry.Corrupt)
	for i := range wrapped { // every bit counts: of the length, of KMS's part, of ours
		tampered := append([]byte{}, wrapped...)
		tampered[i] ^= 1
		if _, err := ring.Unwrap(t.Context(), "t-1", id, tampered); tenantry.KindOf(err) != tenantry.Corrupt {
			t.Fatalf("byte %d of %d tampered with: %v", i, len(wrapped), err)
		}
	}
	for _, short := range [][]byte{nil, {0}, binary.BigEndian.AppendUint32(nil, 1<<31)} {
		_, err = ring.Unwrap(t.Context(), "t-1", id, short)
		wantKind(t, err, tenantry.Corrupt)
	}
	_, err = ring.Unwrap(t.Context(), "t-1", id+"0", wrapped)
	wantKind(t, err, tenantry.WrongKey)

	final, err := ring.Destroy(t.Context(), "t-1", id)
	must(t, err)
	if days := time.Until(final).Hours() / 24; days < 6 || days > 8 {
		t.Errorf("the key can be saved for %.1f days", days)
	}
	again, err := ring.Destroy(t.Context(), "t-1", id)
	if err != nil || !again.Equal(final) {
		t.Errorf("destroyed twice: until %v, then %v, %v", final, again, err)
	}
	_, err = ring.Unwrap(t.Context(), "t-1", id, wrapped)
	wantKind(t, err, tenantry.WrongKey)
	_, _, err = ring.Wrap(t.Context(), "t-1", []byte("x"))
	wantKind(t, err, tenantry.WrongKey) // nobody begins anew by mistake

	server.mu.Lock()
	server.deny = true
	server.mu.Unlock()
	_, err = ring.Unwrap(t.Context(), "t@2", id, wrapped)
	wantKind(t, err, tenantry.Shared)
}

func TestKMSRefuses(t *testing.T) {
	for name, o := range map[string]repository.KMSOptions{
		"no fleet": {Region: "x"}, "a fleet with a slash": {Region: "x", Fleet: "a/b"}, "half of the credentials": {Region: "x", Fleet: "a", AccessKey: "a"},
	} {
		_, err := repository.OpenKMS(t.Context(), o)
		if tenantry.KindOf(err) != tenantry.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestKMSFailures holds that what KMS refuses is told apart: by kind, by code, and in words that say what to do.
func TestKMSFailures(t *testing.T) {
	t.Parallel() // the SDK waits between its tries
	server, ring := startKMS(t)
	wrapped, id, err := ring.Wrap(t.Context(), "t-1", []byte("key material"))
	must(t, err)
	unwrap := func(ctx context.Context) error {
		_, err := ring.Unwrap(ctx, "t-1", id, wrapped)
		return err
	}
	set := func(fault string, hang chan struct{}) {
		server.mu.Lock()
		defer server.mu.Unlock()
		server.fault, server.hang, server.calls = fault, hang, 0
	}
	expect := func(t *testing.T, err error, kind tenantry.Kind, code, says string) {
		t.Helper()
		if tenantry.KindOf(err) != kind || tenantry.CodeOf(err) != code || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "t-1") {
			t.Errorf("%v (%s, %s), expected %s, %s and %q", err, tenantry.KindOf(err), tenantry.CodeOf(err), kind, code, says)
		}
	}
	for _, c := range []struct {
		fault string
		kind  tenantry.Kind
		code  string
		says  string
		tries int // with those of the SDK
	}{
		{"DisabledException", tenantry.WrongKey, "kms_disabled", "enable it again", 1},
		{"KMSInvalidStateException", tenantry.WrongKey, "kms_state", "cannot be used", 2}, // and a look at its state
		{"NotFoundException", tenantry.WrongKey, "kms_gone", "is gone", 1},
		{"IncorrectKeyException", tenantry.WrongKey, "kms_other_key", "another key", 1},
		{"AccessDeniedException", tenantry.Shared, "key", "access is denied", 1},
		{"UnrecognizedClientException", tenantry.Shared, "key", "credentials", 1},
		{"SomethingNewException", tenantry.Shared, "key", "cannot be asked", 1},
		{"LimitExceededException", tenantry.Capacity, "kms_quota", "quota", 3},
		{"ThrottlingException", tenantry.Transient, "kms_throttled", "fewer requests", 3},
	} {
		t.Run(c.fault, func(t *testing.T) {
			set(c.fault, nil)
			defer set("", nil)
			expect(t, unwrap(t.Context()), c.kind, c.code, c.says)
			server.mu.Lock()
			defer server.mu.Unlock()
			if server.calls != c.tries {
				t.Errorf("KMS was asked %d times, expected %d", server.calls, c.tries)
			}
		})
	}
	t.Run("no answer", func(t *testing.T) {
		hang := make(chan struct{})
		defer close(hang)
		set("", hang)
		defer set("", nil)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		expect(t, unwrap(ctx), tenantry.Transient, "kms_timeout", "in time")
		ctx, cancel = context.WithCancel(t.Context())
		cancel()
		wantKind(t, unwrap(ctx), tenantry.Canceled)
	})
	t.Run("an answer that breaks off", func(t *testing.T) {
		cut := func(cuts int) {
			server.mu.Lock()
			defer server.mu.Unlock()
			server.cuts = cuts
		}
		cut(1)
		must(t, unwrap(t.Context())) // it is asked for again
		cut(1 << 30)
		defer cut(0)
		expect(t, unwrap(t.Context()), tenantry.Shared, "key", "cannot be asked")
	})
	t.Run("another region", func(t *testing.T) {
		const there = "arn:aws:kms:eu-west-1:1:key/7"
		_, err := ring.Unwrap(t.Context(), "t-1", there, wrapped)
		expect(t, err, tenantry.WrongKey, "kms_region", "of region eu-west-1, and KMS was asked in eu-central-1")
		_, err = ring.Unwrap(t.Context(), "t-1", id+"0", wrapped)
		expect(t, err, tenantry.WrongKey, "kms_gone", "is gone")
	})
	t.Run("pending deletion", func(t *testing.T) {
		_, err := ring.Destroy(t.Context(), "t-1", id)
		must(t, err)
		expect(t, unwrap(t.Context()), tenantry.WrongKey, "kms_pending_deletion", "can be canceled until")
		_, _, err = ring.Wrap(t.Context(), "t-1", []byte("x"))
		expect(t, err, tenantry.WrongKey, "kms_pending_deletion", "can be canceled until")
	})
	must(t, func() error { _, _, err := ring.Wrap(t.Context(), "t-2", []byte("x")); return err }()) // others are none the worse
}
