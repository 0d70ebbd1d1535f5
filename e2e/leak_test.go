package e2e

import (
	"cmp"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"

	"github.com/tenantry/tenantry/internal/servertest"
)

// TestNothingSecretIsTold gives a fleet every kind of secret that it works with, has them used, refused and rotated, and
// then looks for each in all that the fleet tells: the logs of all programs at their most talkative, every answer of the
// API, every row in SQL, every value in Redis.
func TestNothingSecretIsTold(t *testing.T) {
	t.Setenv("TENANTRY_LOG_LEVEL", "debug")
	f := newFleet(t, "--tenants", "2", "--users", "2", "--mails", "4", "--files-per-user", "1", "--groups", "0", "--sites", "0")
	box := openBox(t)
	hidden := map[string]string{
		"client secret": clientSecret, "password of SMTP": "sesame", "secret key of S3": f.s3.SecretKey, "password of Postgres": "pg-open-sesame",
		"password of Redis": "redis-open-sesame", "first API token": f.token, "client secret given by the API": "given~open~sesame",
		"client secret that Microsoft refuses": "wrong~open~sesame",
	}
	rdb := redis.NewClient(&redis.Options{Addr: f.redis.Addr})
	defer func() { _ = rdb.Close() }()
	if err := rdb.ACLSetUser(t.Context(), "fleet", "on", ">"+hidden["password of Redis"], "allcommands", "allkeys", "allchannels").Err(); err != nil {
		t.Fatal(err)
	}
	f.env = append(append(f.env, box.settings()...),
		"TENANTRY_REDIS=redis://fleet:"+hidden["password of Redis"]+"@"+f.redis.Addr,
		"TENANTRY_CATALOG="+strings.Replace(f.catalog, "tenantry@", "tenantry:"+hidden["password of Postgres"]+"@", 1))
	api := f.started["api"]
	api.stop()
	api = spawn(t, "api", api.addr, f.api+"/readyz", f.env, f.program("api"), "-listen", api.addr)
	f.started["api"] = api
	programs := []*process{api, f.scheduler("scheduler"), f.worker("worker")}
	for _, p := range programs {
		p.log.keepAll()
	}

	// One tenant by redirect, with applications for restores of its own, of which none has a consent; another by device code.
	sims := f.simTenants()
	tn := f.connect(sims[0])
	certificate := certificateOf(t)
	key := regexp.MustCompile(`(?s)PRIVATE KEY-----\n(.*?)\n-----END`).FindStringSubmatch(certificate)[1]
	hidden["key of a certificate"] = strings.Split(key, "\n")[3]
	for _, body := range []map[string]any{
		{"kind": "secret", "secret": hidden["client secret given by the API"]},
		{"kind": "secret", "secret": hidden["client secret that Microsoft refuses"]},
		{"kind": "certificate", "certificate": certificate},
	} {
		body["purpose"], body["client_id"] = "restore", "77777777-7777-4777-8777-777777777777"
		f.must("POST", "/tenants/"+tn.ID+"/credentials", body, nil)
	}
	f.refused("POST", "/tenants/"+tn.ID+"/credentials", map[string]any{"kind": "secret", "client_id": "x", "secret": "refused~open~sesame"}, 422, "invalid")
	hidden["client secret in a refused request"] = "refused~open~sesame"
	other := f.add(sims[1])
	f.must("POST", "/tenants/"+other.ID+"/registration", map[string]any{"name": "Our backup"}, nil)
	f.enterCode(other, f.awaitRegistration(other, "waiting").Code)
	f.awaitRegistration(other, "done")

	var token struct {
		Token string `json:"token"`
	}
	f.must("POST", "/tokens", map[string]any{"name": "ada@contoso", "role": "auditor", "days": 1}, &token)
	hidden["another API token"] = token.Token
	hidden["wrong API token"] = "tenantry_" + strings.Repeat("wrong", 8)
	if status, _ := f.asWith(hidden["wrong API token"], "/v1/tenants"); status != http.StatusUnauthorized {
		t.Errorf("a wrong token gets %d", status)
	}
	f.must("PUT", "/tenants/"+tn.ID+"/notices", map[string]any{"to": []string{"ada@contoso.com"}}, nil)
	f.must("POST", "/tenants/"+tn.ID+"/notices/test", nil, nil)
	box.await("ada@contoso.com", "Test of the backup's notices")
	f.awaitDone(tn, f.backupOf(tn, []string{"mailbox"}, f.users(tn, "mailbox")[0]))
	for i, key := range wrappingKeys(t, filepath.Join(f.dir, "keys")) {
		hidden["wrapping key "+string(rune('a'+i))] = key
	}
	for what, secret := range hidden {
		if len(secret) < 6 {
			t.Fatalf("the %s is %q: nothing to look for", what, secret)
		}
	}

	s := spied{t, hidden}
	for path, answer := range f.answers(tn, other) {
		s.lacks("the answer of "+path, answer)
	}
	rows := f.eachRow(func(table, row string) { s.lacks("the table "+table, row) })
	for _, table := range []string{"credentials", "tokens", "registrations", "audit", "outbox"} {
		if rows[table] == 0 {
			t.Errorf("the table %s is empty: nothing was looked for in it", table)
		}
	}
	eachValue(t, rdb, func(key, value string) { s.lacks("the key "+key+" of Redis", key+value) })
	for _, p := range programs {
		p.stop()
		log := p.log.String()
		if !strings.Contains(log, "stopping") {
			t.Errorf("the log of %s is not whole", p.name)
		}
		s.lacks("the log of "+p.name, log)
	}
}

// What is told would be found: a secret in each of the places, as it is and as they show bytes.
func TestTheSpyFindsSecrets(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED because of -short: needs Postgres and Redis")
	}
	const secret = "open~sesame"
	wrapped := []string{hex.EncodeToString([]byte(secret)), base64.StdEncoding.EncodeToString([]byte(secret))}
	told := map[string]string{} // by where
	routes := map[string]any{}
	for i := range 30 {
		routes[fmt.Sprintf("/v1/route/%d", i)] = map[string]any{"get": map[string]any{}}
	}
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/openapi.json":
			_ = json.NewEncoder(w).Encode(map[string]any{"paths": routes}) // the test fails without it
		case "/v1/route/7":
			_, _ = io.WriteString(w, `{"reason":"`+secret+`"}`)
		case "/v1/route/8":
			_, _ = io.WriteString(w, `{"reason":"Bearer `+"x"+`yz"}`)
		}
	}))
	defer api.Close()
	f := &fleet{t: t, api: api.URL, token: "token", catalog: servertest.Postgres(t).Database(t)}
	for path, answer := range f.answers(tenant{ID: "t"}) {
		told["answer "+path] = answer
	}

	db, err := pgx.Connect(t.Context(), f.catalog)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close(t.Context()) }()
	for table, value := range map[string]any{"texts": secret, "bytes": []byte(secret), "jsons": map[string]string{"a": secret}, "fine": "nothing"} {
		kind := map[string]string{"bytes": "bytea", "jsons": "jsonb"}[table]
		if _, err := db.Exec(t.Context(), "CREATE TABLE "+table+" (v "+cmp.Or(kind, "text")+")"); err != nil {
			t.Fatal(err)
		}
		if _, err := db.Exec(t.Context(), "INSERT INTO "+table+" VALUES ($1)", value); err != nil {
			t.Fatal(err)
		}
	}
	f.eachRow(func(table, row string) { told["table "+table] = row })

	rdb := redis.NewClient(&redis.Options{Addr: servertest.Redis(t)})
	defer func() { _ = rdb.Close() }()
	long := strings.Repeat("the same word again and again ", 100) // which Redis would compress
	for _, set := range []error{
		rdb.Set(t.Context(), "plain", secret, 0).Err(), rdb.Set(t.Context(), "long", long+secret+long, 0).Err(), rdb.HSet(t.Context(), "hash", "f", secret).Err(),
		rdb.ZAdd(t.Context(), "set", redis.Z{Member: "x" + secret}).Err(), rdb.LPush(t.Context(), "list", "a", secret).Err(), rdb.Set(t.Context(), "in "+secret, "v", 0).Err(), rdb.Set(t.Context(), "fine", "v", 0).Err(),
	} {
		if set != nil {
			t.Fatal(set)
		}
	}
	eachValue(t, rdb, func(key, value string) { told["key "+key] = key + value })

	var log tail
	log.keepAll()
	for _, line := range []string{`{"level":"debug","dsn":"` + secret + `"}`, `{"level":"debug","wrapped":"` + wrapped[0] + `"}`, `{"level":"debug","wrapped":"` + wrapped[1] + `"}`} {
		for range 1000 { // much more than is kept of a log otherwise
			_, _ = fmt.Fprintln(&log, `{"level":"debug","msg":"nothing"}`)
		}
		_, _ = fmt.Fprintln(&log, line)
	}
	for i, line := range strings.Split(log.String(), "\n") {
		told[fmt.Sprint("log ", i)] = line
	}

	found := map[string]bool{}
	s := spied{complains(func(where string) { found[where] = true }), map[string]string{"secret": secret}}
	for where, text := range told {
		s.lacks(where, text)
	}
	want := []string{"answer /v1/route/7", "answer /v1/route/8", "key hash", "key in " + secret, "key list", "key long", "key plain", "key set",
		"log 1000", "log 2001", "log 3002", "table bytes", "table jsons", "table texts"}
	if got := slices.Sorted(maps.Keys(found)); !slices.Equal(got, want) {
		t.Errorf("found %q\n want %q", got, want)
	}
}

// complains hears the complaints of a spy, by where.
type complains func(where string)

func (complains) Helper() {}

func (c complains) Errorf(_ string, args ...any) { c(fmt.Sprint(args[0])) }

// spied looks for secrets.
type spied struct {
	t interface { // *testing.T
		Helper()
		Errorf(format string, args ...any)
	}
	hidden map[string]string // by what they are
}

// tokens are what nobody knows beforehand: tokens of Microsoft's, keys.
var tokens = regexp.MustCompile(`eyJ[\w-]{8,}\.eyJ[\w-]{8,}|PRIVATE KEY|Bearer [\w-]`)

// lacks fails the test if a text holds a secret, as it is or as SQL and JSON show bytes.
func (s spied) lacks(where, text string) {
	s.t.Helper()
	for _, what := range slices.Sorted(maps.Keys(s.hidden)) {
		secret := s.hidden[what]
		for _, form := range []string{secret, hex.EncodeToString([]byte(secret)), base64.StdEncoding.EncodeToString([]byte(secret))} {
			if strings.Contains(text, form) {
				s.t.Errorf("%s shows the %s", where, what)
			}
		}
	}
	if found := tokens.FindString(text); found != "" {
		s.t.Errorf("%s shows %.12q...", where, found)
	}
}

// answers are what the provider's administrator gets of every route that needs no more than a tenant, by path.
func (f *fleet) answers(tenants ...tenant) map[string]string {
	f.t.Helper()
	var document struct {
		Paths map[string]map[string]json.RawMessage `json:"paths"`
	}
	_, text := f.asWith(f.token, "/openapi.json")
	if err := json.Unmarshal([]byte(text), &document); err != nil {
		f.t.Fatal(err)
	}
	found := map[string]string{}
	for path, methods := range document.Paths {
		for _, tn := range tenants {
			at := strings.Replace(path, "{tenant}", tn.ID, 1)
			if _, reads := methods["get"]; reads && !strings.Contains(at, "{") && !strings.HasSuffix(at, "/events") {
				_, found[at] = f.asWith(f.token, at)
			}
		}
	}
	if len(found) < 30 {
		f.t.Fatalf("only %d routes were asked", len(found))
	}
	return found
}

// asWith asks for a path with a token.
func (f *fleet) asWith(token, path string) (status int, text string) {
	f.t.Helper()
	r, err := http.NewRequestWithContext(f.t.Context(), http.MethodGet, f.api+path, nil)
	if err != nil {
		f.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		f.t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(answer.Body, 16<<20))
	if err != nil {
		f.t.Fatal(err)
	}
	return answer.StatusCode, string(body)
}

// eachValue shows every value in Redis whole, as it dumps it.
func eachValue(t *testing.T, rdb *redis.Client, show func(key, value string)) {
	t.Helper()
	if err := rdb.ConfigSet(t.Context(), "rdbcompression", "no").Err(); err != nil { // or dumps show values in pieces
		t.Fatal(err)
	}
	keys := rdb.Scan(t.Context(), 0, "*", 1000).Iterator()
	for keys.Next(t.Context()) {
		value, err := rdb.Dump(t.Context(), keys.Val()).Result()
		if err != nil && !errors.Is(err, redis.Nil) {
			t.Fatal(err)
		}
		show(keys.Val(), value)
	}
	if err := keys.Err(); err != nil {
		t.Fatal(err)
	}
}

// eachRow shows every row of every table in SQL, and tells how many each table has.
func (f *fleet) eachRow(show func(table, row string)) map[string]int {
	f.t.Helper()
	ctx := f.t.Context()
	db, err := pgx.Connect(ctx, f.catalog)
	if err != nil {
		f.t.Fatal(err)
	}
	defer func() { _ = db.Close(ctx) }()
	texts := func(query string) []string {
		rows, err := db.Query(ctx, query)
		if err != nil {
			f.t.Fatal(err)
		}
		list, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			f.t.Fatal(err)
		}
		return list
	}
	seen := map[string]int{}
	for _, table := range texts("SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'") {
		for _, row := range texts("SELECT row_to_json(t)::text FROM " + pgx.Identifier{table}.Sanitize() + " t") {
			show(table, row)
			seen[table]++
		}
	}
	return seen
}

// certificateOf makes a certificate with its key, in PEM.
func certificateOf(t *testing.T) string {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})) + string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
}

// wrappingKeys are the keys in a key file, as they stand there.
func wrappingKeys(t *testing.T, file string) (keys []string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, found := range regexp.MustCompile(`"key": *"([^"]{20,})"`).FindAllSubmatch(text, -1) {
		keys = append(keys, string(found[1]))
	}
	if len(keys) == 0 {
		t.Fatal("the key file has no keys")
	}
	return keys
}
