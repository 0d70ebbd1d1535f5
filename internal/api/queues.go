package api

import (
	"net/http"
	"strings"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// queueRoutes serves asynqmon behind authentication, and the way to sign in.
// Writes from foreign pages are refused here, and again by the monitor itself.
func (s *service) queueRoutes(mux *http.ServeMux) {
	sameOrigin := http.NewCrossOriginProtection()
	sameOrigin.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		writeProblem(w, newProblem(tenantry.Forbidden, "a page of another origin asks for this: ask from a page of this one").because(codeForeignOrigin))
	}))
	mux.HandleFunc("GET /login", s.loginPage)
	mux.Handle("POST /login", sameOrigin.Handler(s.bounded(http.HandlerFunc(s.login))))
	mux.Handle("POST /logout", sameOrigin.Handler(http.HandlerFunc(s.logout)))
	if s.Monitor != nil {
		monitor := sameOrigin.Handler(s.guarded(explained(s.Monitor)))
		mux.Handle("/queues", monitor)
		mux.Handle("/queues/", monitor)
	}
}

// guarded lets authenticated callers through, sends people to the login page, and
// writes what they change there to the audit log.
func (s *service) guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		by, err := s.operatorOf(r)
		if err != nil {
			s.refuse(w, r, err)
			return
		}
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			if err := s.audit(r.Context(), by, "", "queues-"+strings.ToLower(r.Method), r.URL.Path); err != nil {
				writeProblem(w, s.problem("queues", err))
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// explained puts what the monitor refuses, because of where it comes from or of its method, into our words.
func explained(monitor http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		monitor.ServeHTTP(&explaining{ResponseWriter: w, r: r}, r)
	})
}

// explaining writes a problem in place of a refusal, and nothing after it.
type explaining struct {
	http.ResponseWriter
	r    *http.Request
	done bool
}

func (e *explaining) WriteHeader(status int) {
	switch status {
	case http.StatusForbidden:
		e.refuse(newProblem(tenantry.Forbidden, "a write must come from the page of the queues itself").because(codeForeignOrigin))
	case http.StatusMethodNotAllowed:
		e.refuse(newProblem(tenantry.Invalid, short(e.r.Method)+" is not possible here, but "+e.Header().Get("Allow")).because(codeMethod))
	default:
		e.ResponseWriter.WriteHeader(status)
	}
}

func (e *explaining) refuse(p *Problem) {
	e.done = true
	writeProblem(e.ResponseWriter, p)
}

func (e *explaining) Write(b []byte) (int, error) {
	if e.done {
		return len(b), nil
	}
	return e.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (e *explaining) Unwrap() http.ResponseWriter { return e.ResponseWriter }

func (s *service) refuse(w http.ResponseWriter, r *http.Request, err error) {
	p := s.problem("queues", err)
	if p.Kind != tenantry.Unauthorized {
		writeProblem(w, p)
		return
	}
	person := r.Method == http.MethodGet && r.Header.Get("Authorization") == "" &&
		strings.Contains(r.Header.Get("Accept"), "text/html")
	if person {
		http.Redirect(w, r, s.public.Path+"/login", http.StatusSeeOther)
		return
	}
	w.Header().Set("WWW-Authenticate", challenge)
	writeProblem(w, p)
}

func (s *service) loginPage(w http.ResponseWriter, _ *http.Request) {
	s.page(w, http.StatusOK, "login.html", page{Title: "Sign in"})
}

// login takes a token from the form and answers with the session cookie.
func (s *service) login(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 4096)
	token := strings.TrimSpace(r.PostFormValue("token"))
	if _, err := s.callerWith(r.Context(), token); err != nil {
		p := s.problem("login", err)
		message := "This token is not valid."
		if p.Kind != tenantry.Unauthorized {
			message = "Signing in is not possible now. Try again in a minute."
		}
		s.page(w, p.Status, "login.html", page{Title: "Sign in", Failure: true, Text: message})
		return
	}
	http.SetCookie(w, s.session(token, sessionSeconds))
	http.Redirect(w, r, s.public.Path+"/queues/", http.StatusSeeOther)
}

func (s *service) logout(w http.ResponseWriter, r *http.Request) {
	http.SetCookie(w, s.session("", -1))
	http.Redirect(w, r, s.public.Path+"/login", http.StatusSeeOther)
}
