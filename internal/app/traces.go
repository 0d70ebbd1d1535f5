package app

import (
	"context"
	crand "crypto/rand"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
	"go.uber.org/zap"

	"github.com/tenantry/tenantry/internal/tenantry"
	"github.com/tenantry/tenantry/internal/worker"
)

const (
	// tracesTimeout bounds one export, tracesQueue the spans that wait for one; more are
	// dropped: the fleet never waits for its traces.
	tracesTimeout = 10 * time.Second
	tracesQueue   = 8192
	// tracesPath is where OTLP receivers take traces (OTLP specification, "OTLP/HTTP request").
	tracesPath = "/v1/traces"
	// complainEvery is how often it is logged that traces cannot be sent.
	complainEvery = time.Minute
)

// openTraces returns the tracer of the program: one that does nothing unless a receiver is
// configured. Stop sends what is left, within its context.
func (p *Program) openTraces(ctx context.Context, cfg Config, role Role) (trace.Tracer, error) {
	const scope = "github.com/tenantry/tenantry"
	if cfg.TracesEndpoint == "" {
		return noop.NewTracerProvider().Tracer(scope), nil
	}
	exporter, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(tracesURL(cfg.TracesEndpoint)), otlptracehttp.WithTimeout(tracesTimeout))
	if err != nil {
		return nil, tenantry.E(tenantry.Invalid, "configuration: traces-endpoint", err)
	}
	otel.SetErrorHandler(&complaints{log: p.log})
	provider := sdk.NewTracerProvider(
		sdk.WithBatcher(exporter, sdk.WithMaxQueueSize(tracesQueue), sdk.WithExportTimeout(tracesTimeout)),
		// By the trace's ID, which is the task's: all slices of a task are sampled, or none.
		sdk.WithSampler(sdk.TraceIDRatioBased(cfg.TracesRatio)),
		sdk.WithIDGenerator(spanIDs{}),
		sdk.WithResource(resource.NewSchemaless(attribute.String("service.name", "tenantry-"+string(role)))),
	)
	p.onStop(func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, tracesTimeout)
		defer cancel()
		if err := provider.Shutdown(ctx); err != nil {
			p.log.Warn("the last traces are lost", zap.Error(err))
		}
		return nil // no reason to call a stop unclean
	})
	return provider.Tracer(scope), nil
}

// tracesURL adds the path that receivers listen on to an address without one.
func tracesURL(endpoint string) string {
	u, err := url.Parse(endpoint)
	if err != nil || strings.Trim(u.Path, "/") != "" {
		return endpoint
	}
	return u.JoinPath(tracesPath).String()
}

// spanIDs gives a task's span the IDs that its slices expect, and others random ones.
type spanIDs struct{}

// NewIDs implements sdk.IDGenerator, as does NewSpanID.
func (g spanIDs) NewIDs(ctx context.Context) (trace.TraceID, trace.SpanID) {
	if t, s, ok := worker.TraceIDs(ctx); ok {
		return t, s
	}
	var t trace.TraceID
	_, _ = crand.Read(t[:]) // never fails
	return t, g.NewSpanID(ctx, t)
}

func (spanIDs) NewSpanID(context.Context, trace.TraceID) (s trace.SpanID) {
	_, _ = crand.Read(s[:]) // never fails
	return s
}

// complaints logs that traces cannot be sent, now and then: nothing else depends on it.
type complaints struct {
	log  *zap.Logger
	last atomic.Int64
}

// Handle implements otel.ErrorHandler.
func (c *complaints) Handle(err error) {
	now, last := time.Now().UnixNano(), c.last.Load()
	if now-last >= int64(complainEvery) && c.last.CompareAndSwap(last, now) {
		c.log.Warn("cannot send traces; trying on", zap.Error(err))
	}
}
