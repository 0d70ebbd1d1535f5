package worker

import (
	"context"
	"crypto/sha256"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// Traces. All slices of a task are one trace, whichever worker runs them and whenever: its
// IDs come from the task's. Each slice is a span below the task's, and Graph's requests
// are spans below the slice (package graph). The task's own span is written by the slice
// that ends it, from when the task was made to then:
//
//	task ─┬─ slice (parked) ─┬─ GET /users/{id}/mailFolders/delta
//	      │                  └─ ...
//	      └─ slice (done) ───── ...
//
// Spans carry the tenant's ID and the task's, never the resource's: that is a person's.

type traceKey struct{}

// TraceIDs returns the IDs that the span which is begun with ctx has to have: those of a
// task. ok is false for every other span. It is for the tracer's ID generator.
func TraceIDs(ctx context.Context) (t trace.TraceID, s trace.SpanID, ok bool) {
	task, ok := ctx.Value(traceKey{}).(tenantry.TaskID)
	if !ok {
		return t, s, false
	}
	sum := sha256.Sum256([]byte("task " + task))
	copy(t[:], sum[:16])
	copy(s[:], sum[16:24])
	return t, s, true
}

// traced returns ctx inside the task's trace, and begins the span of one slice.
func (j *job) traced(ctx context.Context) (context.Context, trace.Span) {
	id, parent, _ := TraceIDs(context.WithValue(ctx, traceKey{}, j.claim.ID))
	ctx = trace.ContextWithRemoteSpanContext(ctx, trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: id, SpanID: parent, TraceFlags: trace.FlagsSampled, Remote: true,
	}))
	return j.cfg.Tracer.Start(ctx, "slice", trace.WithAttributes(j.about()...))
}

func (j *job) about() []attribute.KeyValue {
	return []attribute.KeyValue{
		attribute.String("tenantry.tenant", string(j.claim.Tenant)),
		attribute.String("tenantry.task", string(j.claim.ID)),
		attribute.String("tenantry.action", string(j.claim.Action)),
		attribute.String("tenantry.workload", string(j.claim.Workload)),
		attribute.String("tenantry.queue", j.claim.Queue),
		attribute.Int("tenantry.attempt", j.claim.Attempt+1),
	}
}

// conclude ends a slice's span, and writes the task's if the task has ended. The reason
// stays in SQL: it may name an item.
func (j *job) conclude(slice trace.Span, s catalog.Settlement, result string) {
	if !slice.IsRecording() { // nobody listens, or the sampler, which goes by the trace's ID, left out all of the task
		slice.End()
		return
	}
	about := append(j.about(), attribute.String("tenantry.result", result))
	fail := func(span trace.Span) {
		if s.State == catalog.TaskFailed {
			span.SetStatus(codes.Error, string(s.Kind))
		}
	}
	slice.SetAttributes(append(about,
		attribute.String("tenantry.kind", string(s.Kind)), attribute.Int64("tenantry.items", s.Counts.Items))...)
	fail(slice)
	slice.End()
	if s.State != catalog.TaskDone && s.State != catalog.TaskFailed {
		return
	}
	ctx := context.WithValue(context.Background(), traceKey{}, j.claim.ID)
	_, task := j.cfg.Tracer.Start(ctx, "task "+string(j.claim.Action),
		trace.WithNewRoot(), trace.WithTimestamp(j.claim.CreatedAt), trace.WithAttributes(about...))
	fail(task)
	task.End()
}
