package graphsim

import (
	"errors"
	"fmt"
	"net/http"
	"time"
)

// apiError is an answer with a Graph error body.
type apiError struct {
	status  int
	code    string
	message string
	inner   string // innerError.code
	header  http.Header
	probe   bool // it was asked for a OneDrive that is not there
}

func (e *apiError) Error() string {
	return fmt.Sprintf("%d %s: %s", e.status, e.code, e.message)
}

func fail(status int, code, format string, args ...any) *apiError {
	return &apiError{status: status, code: code, message: fmt.Sprintf(format, args...)}
}

// with adds a header to the answer.
func (e *apiError) with(key, value string) *apiError {
	if e.header == nil {
		e.header = http.Header{}
	}
	e.header.Set(key, value)
	return e
}

func (e *apiError) withInner(code string) *apiError {
	e.inner = code
	return e
}

// write answers with the error body of the Graph error page: code, message,
// innerError with the IDs that support asks for.
func (e *apiError) write(w http.ResponseWriter, requestID, clientID string) {
	for k, v := range e.header {
		w.Header()[k] = v
	}
	inner := newObject(nil)
	if e.inner != "" {
		inner.str("code", e.inner)
	}
	inner.str("date", time.Now().UTC().Format("2006-01-02T15:04:05"))
	inner.str("request-id", requestID)
	inner.str("client-request-id", clientID)
	body := newObject(nil)
	body.str("code", e.code)
	body.str("message", e.message)
	body.raw("innerError", string(inner.done()))
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(e.status)
	fmt.Fprintf(w, `{"error":%s}`, body.done())
}

// asAPIError turns any error of a handler into an answer; what is not an apiError
// is a defect of the simulator and says so.
func asAPIError(err error) *apiError {
	var e *apiError
	if errors.As(err, &e) {
		return e
	}
	return fail(http.StatusInternalServerError, "generalException", "graphsim: %v", err)
}

func badRequest(format string, args ...any) *apiError {
	return fail(http.StatusBadRequest, "RequestBodyRead", format, args...)
}

func directoryNotFound(id string) *apiError {
	return fail(http.StatusNotFound, "Request_ResourceNotFound",
		"Resource '%s' does not exist or one of its queried reference-property objects are not present.", id)
}

func requestDenied() *apiError {
	return fail(http.StatusForbidden, "Authorization_RequestDenied", "Insufficient privileges to complete the operation.")
}

func itemNotFound() *apiError {
	return fail(http.StatusNotFound, "itemNotFound", "The resource could not be found.")
}

func mailItemNotFound() *apiError {
	return fail(http.StatusNotFound, "ErrorItemNotFound", "The specified object was not found in the store.")
}
