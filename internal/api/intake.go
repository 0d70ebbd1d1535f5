package api

import (
	"mime"
	"net/http"
	"path"
	"strings"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// headerLimit is how large the header of a request may be with its first line, in bytes: ten times what ours are.
// net/http itself cuts off what is larger than 1 MiB.
const headerLimit = 64 << 10

// single are headers of which a proxy before us, or a handler here, could take another one than we do.
var single = []string{"Authorization", "Content-Type", "Content-Encoding", keyHeader, "If-Match", "Origin"}

// intake refuses requests that could be understood in more than one way, before anything reads them.
func intake(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p := headersOf(r)
		if p == nil && strings.HasPrefix(path.Clean(r.URL.Path), "/v1") {
			p = addressOf(r)
			if p == nil {
				p = bodyOf(r)
			}
			r.Header.Del("Accept") // an operation has one form of answer, whatever is wished for
		}
		if p != nil {
			writeProblem(w, p)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// headersOf refuses headers that are too large, or stand twice.
func headersOf(r *http.Request) *Problem {
	size := len(r.RequestURI)
	for name, values := range r.Header {
		for _, value := range values {
			size += len(name) + len(value) + len(": \r\n")
		}
	}
	if size > headerLimit {
		return newProblem(tenantry.Invalid, "the header of the request is larger than 64 KiB").because(codeHeadersTooLarge)
	}
	for _, name := range single {
		if len(r.Header.Values(name)) > 1 {
			return newProblem(tenantry.Invalid, "the header "+name+" stands twice: send it once").because(codeRepeated)
		}
	}
	return nil
}

// addressOf refuses paths with empty or relative steps, which net/http would lead to another one.
func addressOf(r *http.Request) *Problem {
	if escaped := r.URL.EscapedPath(); path.Clean(escaped) != strings.TrimSuffix(escaped, "/") {
		return nothingAt(r)
	}
	return nil
}

// bodyOf refuses bodies that are not JSON in UTF-8 as it stands.
func bodyOf(r *http.Request) *Problem {
	if encoding := r.Header.Get("Content-Encoding"); encoding != "" && !strings.EqualFold(encoding, "identity") {
		return newProblem(tenantry.Invalid, "send the body as it is: the Content-Encoding "+short(encoding)+" is not read").because(codeMediaType)
	}
	given := r.Header.Get("Content-Type")
	if given == "" || r.ContentLength == 0 {
		return nil
	}
	kind, params, err := mime.ParseMediaType(given)
	if err != nil || kind != "application/json" {
		return newProblem(tenantry.Invalid, "send JSON, as application/json: the Content-Type "+short(given)+" is not read").because(codeMediaType)
	}
	if charset := params["charset"]; charset != "" && !strings.EqualFold(charset, "utf-8") {
		return newProblem(tenantry.Invalid, "send UTF-8: the charset "+short(charset)+" is not read").because(codeMediaType)
	}
	r.Header.Set("Content-Type", kind) // huma compares letters
	return nil
}
