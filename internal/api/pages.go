package api

import (
	"bytes"
	"embed"
	"html/template"
	"io/fs"
	"net/http"
	"net/url"

	"go.uber.org/zap"

	"github.com/tenantry/tenantry/internal/tenantry"
)

//go:embed pages
var pageFiles embed.FS

// pages are the parsed templates. They load only our own files: nothing on them
// comes from another host.
type pages struct{ templates *template.Template }

// page is what a template shows. Everything in it is escaped.
type page struct {
	Title   string
	Failure bool
	Text    string   // what happened
	Facts   []fact   // which tenant, which directory
	Next    []string // what to do now
	Base    string   // path of the public URL, before every link
	To      string   // where the browser goes on to by itself, below Base; "" is nowhere
	// Provider is the host that people may sign in with; "" is none.
	Provider string
}

type fact struct{ Name, Value string }

func loadPages() (pages, error) {
	templates, err := template.ParseFS(pageFiles, "pages/*.html")
	if err != nil {
		return pages{}, tenantry.E(tenantry.Internal, "read the embedded pages", err)
	}
	return pages{templates}, nil
}

// page renders a template whole before it answers, so that none is cut in half.
func (s *service) page(w http.ResponseWriter, status int, name string, p page) {
	p.Base = s.public.Path
	if s.SignIn != nil {
		if issuer, err := url.Parse(s.SignIn.Issuer()); err == nil {
			p.Provider = issuer.Host
		}
	}
	var body bytes.Buffer
	if err := s.pages.templates.ExecuteTemplate(&body, name, p); err != nil {
		s.Logger.Error("render page", zap.String("page", name), zap.Error(err))
		plain(w, http.StatusInternalServerError, "This page cannot be shown.\n")
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(body.Bytes()) // the caller is gone: nobody to tell
}

// docsRoutes serves the page that shows the OpenAPI document.
func (s *service) docsRoutes(mux *http.ServeMux) {
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, s.public.Path+"/docs", http.StatusSeeOther)
	})
	mux.HandleFunc("GET /docs", func(w http.ResponseWriter, _ *http.Request) {
		s.page(w, http.StatusOK, "docs.html", page{Title: "API"})
	})
	mux.HandleFunc("GET /assets/{name}", func(w http.ResponseWriter, r *http.Request) {
		asset(w, r, r.PathValue("name"))
	})
}

// asset serves an embedded style sheet or script.
func asset(w http.ResponseWriter, r *http.Request, name string) {
	mediaType := map[string]string{
		"page.css": "text/css; charset=utf-8",
		"docs.js":  "text/javascript; charset=utf-8",
	}[name]
	if mediaType == "" {
		writeProblem(w, nothingAt(r))
		return
	}
	body, err := fs.ReadFile(pageFiles, "pages/"+name)
	if err != nil {
		writeProblem(w, nothingAt(r))
		return
	}
	w.Header().Set("Content-Type", mediaType)
	w.Header().Set("Cache-Control", "public, max-age=300")
	_, _ = w.Write(body)
}
