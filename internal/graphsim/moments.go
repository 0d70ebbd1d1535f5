package graphsim

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
)

// Moment says what of a tenant's truth is kept as it is now, to be read under a name when
// the tenant has changed: what a restore to that point in time has to bring back.
type Moment struct {
	Name   string `json:"name"`
	Tenant string `json:"tenant"` // ID or domain
	// Owners are object IDs of users, groups and sites, Kinds the last segments of the paths
	// of the truth (mail, drive, ...). Empty means all there are.
	Owners []string `json:"owners"`
	Kinds  []string `json:"kinds"`
}

// maxKept bounds the exports that are kept on disk for all moments together.
const maxKept = 20_000

// momentKinds are the kinds of truth by the collection of their owners.
var momentKinds = map[string][]string{
	"users":  {"mail", "folders", "contacts", "contactFolders", "events", "calendars", "todo", "todoLists", "settings", "drive", "chats"},
	"groups": {"members", "posts", "channels", "messages"},
	"sites":  {"drive", "lists", "listItems", "pages"},
}

// momentBook remembers in which file which export of which moment is. Safe for concurrent
// use; the files go with the server's folder.
type momentBook struct {
	mu   sync.Mutex
	kept map[string]string
}

func momentKey(name, tenant, collection, owner, kind string) string {
	return fmt.Sprintf("%q", []string{name, tenant, collection, owner, kind})
}

// KeepMoment keeps the truth of a tenant under a name and returns how many exports it kept.
// Each is of one instant; a script that runs meanwhile may change something between two.
// Errors: an unknown tenant, a name that is taken, more than 20,000 exports, a full disk.
func (s *Server) KeepMoment(m Moment) (kept int, err error) {
	t := s.Tenant(m.Tenant)
	if t == nil || m.Name == "" {
		return 0, errors.New("graphsim: a moment has a name, and a tenant that is there")
	}
	for collection, owners := range t.momentOwners(m.Owners) {
		for _, owner := range owners {
			for _, kind := range momentKinds[collection] {
				if len(m.Kinds) > 0 && !slices.Contains(m.Kinds, kind) {
					continue
				}
				did, err := s.keepTruth(t, m.Name, collection, owner, kind)
				if err != nil {
					return kept, err
				}
				kept += btoi(did)
			}
		}
	}
	return kept, nil
}

// momentOwners are the owners of a moment by their collection: those that are named, or all
// that were not purged.
func (t *Tenant) momentOwners(named []string) map[string][]string {
	all := map[string][]string{}
	add := func(collection, id string, state State) {
		if (len(named) == 0 && state != Purged) || slices.Contains(named, id) {
			all[collection] = append(all[collection], id)
		}
	}
	for _, u := range t.Users() {
		add("users", u.ID, u.State)
	}
	for _, g := range t.Groups() {
		add("groups", g.ID, g.State)
	}
	for _, site := range t.Sites() {
		add("sites", site.ID, site.State)
	}
	return all
}

// keepTruth writes one export to a file; did is false of what its owner does not have.
func (s *Server) keepTruth(t *Tenant, name, collection, owner, kind string) (did bool, err error) {
	key := momentKey(name, t.id, collection, owner, kind)
	s.moments.mu.Lock()
	_, taken := s.moments.kept[key]
	number := len(s.moments.kept)
	s.moments.mu.Unlock()
	switch {
	case taken:
		return false, fmt.Errorf("graphsim: the moment %q is kept already", name)
	case number >= maxKept:
		return false, fmt.Errorf("graphsim: %d exports are kept, and no more", maxKept)
	}
	file, err := os.CreateTemp(s.spill, "moment-")
	if err != nil {
		return false, fmt.Errorf("keep a moment: %w", err)
	}
	answer := &keptAnswer{to: file, header: http.Header{}}
	request, _ := http.NewRequestWithContext(s.serving.ctx, http.MethodGet, "/", nil) // is well formed
	s.answerTruth(answer, request, t, owner, kind)
	err = errors.Join(answer.err, file.Close())
	if err != nil || answer.status != 0 {
		return false, errors.Join(err, os.Remove(file.Name()))
	}
	s.moments.mu.Lock()
	defer s.moments.mu.Unlock()
	if s.moments.kept == nil {
		s.moments.kept = map[string]string{}
	}
	s.moments.kept[key] = file.Name()
	return true, nil
}

// keptAnswer is an export on its way into a file; a status is a refusal.
type keptAnswer struct {
	to     io.Writer
	header http.Header
	status int
	err    error
}

func (a *keptAnswer) Header() http.Header { return a.header }

func (a *keptAnswer) WriteHeader(status int) { a.status = status }

func (a *keptAnswer) Write(p []byte) (int, error) {
	n, err := a.to.Write(p)
	a.err = errors.Join(a.err, err)
	return n, err
}

// serveMoment answers with what was kept of an owner.
func (s *Server) serveMoment(w http.ResponseWriter, r *http.Request, name string, t *Tenant, collection, owner, kind string) {
	s.moments.mu.Lock()
	path, kept := s.moments.kept[momentKey(name, t.id, collection, owner, kind)]
	s.moments.mu.Unlock()
	if !kept {
		writeJSON(w, http.StatusNotFound, map[string]string{"error": "nothing was kept of that under the name " + strconv.Quote(name)})
		return
	}
	w.Header().Set("Content-Type", "application/jsonl")
	http.ServeFile(w, r, path)
}

// ForgetMoments removes all moments.
func (s *Server) ForgetMoments() error {
	s.moments.mu.Lock()
	defer s.moments.mu.Unlock()
	s.moments.kept = nil
	files, err := filepath.Glob(filepath.Join(s.spill, "moment-*"))
	errs := []error{err}
	for _, file := range files {
		errs = append(errs, os.Remove(file))
	}
	return errors.Join(errs...)
}

// controlMoments serves /_sim/moments.
func (s *Server) controlMoments(w http.ResponseWriter, r *http.Request) {
	var err error
	kept := 0
	switch r.Method {
	case http.MethodPost:
		var m Moment
		if err = readControl(r, &m); err == nil {
			kept, err = s.KeepMoment(m)
		}
	case http.MethodDelete:
		err = s.ForgetMoments()
	default:
		http.Error(w, "POST keeps a moment, DELETE forgets all", http.StatusMethodNotAllowed)
		return
	}
	if err != nil {
		writeJSON(w, http.StatusBadRequest, map[string]string{"error": err.Error()})
		return
	}
	writeJSON(w, http.StatusOK, map[string]int{"kept": kept})
}

// truthPath takes the path of a truth apart; ok is false where it is none.
func (s *Server) truthPath(rest []string) (t *Tenant, owner string, ok bool) {
	if len(rest) != 4 || s.Tenant(rest[0]) == nil {
		return nil, "", false
	}
	owner, err := url.PathUnescape(rest[2]) // the ID of a site has commas
	return s.Tenant(rest[0]), owner, err == nil
}
