package api

import (
	"context"
	"errors"
	"net/http"
	"runtime/debug"
	"strings"
	"sync/atomic"

	"go.uber.org/zap"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// contentPolicy lets our own pages load our own files and nothing else. asynqmon sets
// its own, wider one.
const contentPolicy = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; " +
	"connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

// harden sets the headers that make browsers careful. A handler may replace them.
func (s *service) harden(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", contentPolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		// Not no-referrer: browsers then send "Origin: null" with our own forms.
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		if s.public.Scheme == "https" {
			h.Set("Strict-Transport-Security", "max-age=31536000")
		}
		next.ServeHTTP(w, r)
	})
}

// recovered turns a panic into one log entry and a 500.
func (s *service) recovered(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			cause := recover()
			if cause == nil {
				return
			}
			if err, ok := cause.(error); ok && errors.Is(err, http.ErrAbortHandler) {
				panic(cause) // net/http's own way to cut a connection
			}
			s.Logger.Error("panic", zap.String("method", r.Method), zap.String("path", r.URL.Path),
				zap.Any("cause", cause), zap.ByteString("stack", debug.Stack()))
			writeProblem(w, newProblem(tenantry.Internal, "the cause is in the log of the API"))
		}()
		next.ServeHTTP(w, r)
	})
}

// limited bounds every request in time and in bytes.
func limited(next http.Handler) http.Handler {
	return http.MaxBytesHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), handlerTimeout)
		defer cancel()
		next.ServeHTTP(w, r.WithContext(context.WithValue(ctx, connectionKey{}, r.Context())))
	}), bodyLimit+1) // huma's own limit answers first, with its reason
}

// gated sends workers outside to their door, which bounds by itself what they send and how long that takes.
func (s *service) gated(next http.Handler) http.Handler {
	if s.Gateway == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/gateway/") {
			door := http.Handler(s.Gateway)
			if !s.Gateway.Known(r) {
				door = s.bounded(door)
			}
			door.ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

type connectionKey struct{}

// connectionOf is the context that ends with the client's connection, for answers that last
// longer than a request may: they bound themselves.
func connectionOf(ctx context.Context) context.Context {
	if connection, ok := ctx.Value(connectionKey{}).(context.Context); ok {
		return connection
	}
	return ctx
}

// unmatched answers paths and methods that no route has with problem details too.
func unmatched(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer, pattern := mux.Handler(r)
		if pattern != "" {
			mux.ServeHTTP(w, r)
			return
		}
		only := headerOnly{header: http.Header{}, status: http.StatusOK}
		answer.ServeHTTP(&only, r)
		p := nothingAt(r)
		if only.status == http.StatusMethodNotAllowed {
			w.Header().Set("Allow", only.header.Get("Allow"))
			p = newProblem(tenantry.Invalid, short(r.Method)+" is not possible here, but "+only.header.Get("Allow")).because(codeMethod)
		}
		writeProblem(w, p)
	})
}

func nothingAt(r *http.Request) *Problem {
	return newProblem(tenantry.NotFound, "there is nothing at "+r.URL.Path).because(codeUnknownPath)
}

// headerOnly learns status and header of an answer and drops its body.
type headerOnly struct {
	header http.Header
	status int
}

func (h *headerOnly) Header() http.Header         { return h.header }
func (h *headerOnly) WriteHeader(status int)      { h.status = status }
func (h *headerOnly) Write(b []byte) (int, error) { return len(b), nil }

// healthRoutes serves what orchestrators ask.
func (s *service) healthRoutes(mux *http.ServeMux) {
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { plain(w, http.StatusOK, "ok\n") })
	mux.HandleFunc("GET /readyz", s.readyz())
	if s.Metrics != nil {
		mux.Handle("GET /metrics", s.Metrics)
	}
}

// readyz says whether this process can serve. Why not is for the log, once per
// change, not for whoever can reach the port.
func (s *service) readyz() http.HandlerFunc {
	var failing atomic.Bool
	return func(w http.ResponseWriter, r *http.Request) {
		var err error
		if s.Ready != nil {
			err = s.Ready(r.Context())
		}
		if gaveUp(r.Context()) {
			return
		}
		if failing.Swap(err != nil) != (err != nil) {
			s.Logger.Warn("readiness changed", zap.Bool("ready", err == nil), zap.Error(err))
		}
		if err != nil {
			plain(w, http.StatusServiceUnavailable, "not ready\n")
			return
		}
		plain(w, http.StatusOK, "ready\n")
	}
}

func plain(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text))
}
