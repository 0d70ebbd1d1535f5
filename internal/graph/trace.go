package graph

import (
	"context"
	"net/url"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// scope names this package in traces.
const scope = "github.com/tenantry/tenantry/internal/graph"

// nouns are the words of Graph's addresses that say nothing about anybody.
var nouns = words(`v1.0 beta users groups sites drives organization subscribedSkus directory deletedItems
	getAllSites root items children content createUploadSession delta permissions versions sharepointIds
	mailFolders childFolders messages attachments inbox msgfolderroot recoverableitemsdeletions mailboxSettings
	contactFolders contacts photo calendars calendar calendarGroups calendarView events instances exceptionOccurrences
	copy move $value photos lists columns teams channels drive members owners transitiveMembers`)

func words(text string) map[string]bool {
	set := map[string]bool{}
	for _, w := range strings.Fields(text) {
		set[w] = true
	}
	return set
}

// route is the address of a call without who and what it is about: "/users/{id}/messages".
// A pre-authenticated address is a credential: nothing of it is shown.
func route(c call) string {
	if c.open {
		return "(content host)"
	}
	u, err := url.Parse(c.url)
	if err != nil {
		return "(malformed)"
	}
	var b strings.Builder
	for segment := range strings.SplitSeq(strings.Trim(u.EscapedPath(), "/"), "/") {
		name, arguments, called := strings.Cut(segment, "(")
		switch {
		case called && nouns[name] && arguments == ")":
			b.WriteString("/" + segment)
		case called && nouns[name]:
			b.WriteString("/" + name + "({arguments})")
		case nouns[segment]:
			b.WriteString("/" + segment)
		default:
			b.WriteString("/{id}")
		}
	}
	return b.String()
}

// traced begins the span of one request, below whatever span ctx carries, with that one's
// tracer; without one it does nothing. The span shows method, route, costs and status: no
// ID, no name, no content.
func traced(ctx context.Context, c call) (context.Context, trace.Span) {
	above := trace.SpanFromContext(ctx)
	if !above.IsRecording() {
		return ctx, noop.Span{} // the one above is not ours to end
	}
	path := route(c)
	return above.TracerProvider().Tracer(scope).Start(ctx, c.method+" "+path,
		trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
			attribute.String("http.request.method", c.method),
			attribute.String("http.route", path),
			attribute.String("tenantry.operation", c.op),
			attribute.String("tenantry.service", string(c.cost.Service)),
			attribute.Int("tenantry.units", max(c.cost.Units, 0)),
		))
}

// waited notes how long the account book let the request wait.
func waited(span trace.Span, since time.Time) {
	span.SetAttributes(attribute.Float64("tenantry.wait_seconds", time.Since(since).Seconds()))
}

// answeredWith notes the status of the answer.
func answeredWith(span trace.Span, status int) {
	span.SetAttributes(attribute.Int("http.response.status_code", status))
}

// endFailed ends the span of a request that failed. Graph's message may tell content; its
// request ID is what Microsoft asks for.
func endFailed(span trace.Span, err error) {
	span.SetStatus(codes.Error, string(tenantry.KindOf(err)))
	if f := faultOf(err); f != nil && f.requestID != "" {
		span.SetAttributes(attribute.String("tenantry.request_id", f.requestID))
	}
	span.End()
}
