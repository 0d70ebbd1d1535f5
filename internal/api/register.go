package api

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"go.uber.org/zap"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// auditDetail bounds what one audit entry keeps of a request, in bytes.
const auditDetail = 2000

// audited is the input of an operation that is written down: it says what the audit log
// shall keep.
type audited interface {
	// audit names the tenant, "" for none, and what was asked for.
	audit() (tenantry.TenantID, any)
}

// read registers an operation that changes nothing and shows nobody's content.
func read[I, O any](s *service, op huma.Operation, handler func(context.Context, *I) (*O, error)) {
	register(s, op, handler)
}

// register registers an operation whose input is checked further than by its tags.
func register[I, O any](s *service, op huma.Operation, handler func(context.Context, *I) (*O, error)) {
	huma.Register(s.api, op, func(ctx context.Context, in *I) (*O, error) {
		validated(ctx)
		out, err := answered(ctx, s, op.OperationID, in, handler)
		if err != nil {
			return nil, s.problem(op.OperationID, err)
		}
		return out, nil
	})
}

// answered calls handler with a position in place of a cursor, and puts one into its answer.
func answered[I, O any](ctx context.Context, s *service, operation string, in *I, handler func(context.Context, *I) (*O, error)) (*O, error) {
	if err := checkText(in); err != nil {
		return nil, err
	}
	pages, err := s.listingOf(ctx, operation, in)
	if err == nil && pages != nil {
		err = pages.open(ctx, in)
	}
	if err != nil {
		return nil, err
	}
	out, err := handler(ctx, in)
	if err == nil && pages != nil {
		err = pages.seal(ctx, out)
	}
	if err == nil {
		s.fill(ctx, in, out)
	}
	return out, err
}

// write registers an operation that changes something, or that looks into content. The
// audit entry comes first, after validation: no entry, no write. A failure adds a second
// entry.
func write[I any, P interface {
	*I
	audited
}, O any](s *service, op huma.Operation, handler func(context.Context, *I) (*O, error)) {
	register(s, op, func(ctx context.Context, in *I) (*O, error) {
		return once(ctx, s, op.OperationID, in, func() (*O, error) {
			return recorded[I, P](ctx, s, op.OperationID, in, handler)
		})
	})
}

// recorded calls handler between its entries in the audit log.
func recorded[I any, P interface {
	*I
	audited
}, O any](ctx context.Context, s *service, operation string, in *I, handler func(context.Context, *I) (*O, error)) (*O, error) {
	tenant, detail := P(in).audit()
	by := callerOf(ctx)
	if tenant == "" {
		tenant = by.tenant
	}
	if err := s.audit(ctx, by, tenant, operation, detail); err != nil {
		return nil, err
	}
	out, err := handler(ctx, in)
	if err == nil {
		return out, nil
	}
	p := s.problem(operation, err)
	failed := map[string]any{"kind": p.Kind, "reason": p.Error()}
	if err := s.audit(ctx, by, tenant, operation+".failed", failed); err != nil {
		s.Logger.Error("audit", zap.String("operation", operation), zap.Error(err))
	}
	return nil, p
}

// audit writes one entry; detail is kept as JSON. Bodies of this API hold no secrets.
func (s *service) audit(ctx context.Context, by caller, tenant tenantry.TenantID, action string, detail any) error {
	text, err := json.Marshal(detail)
	if err != nil {
		return tenantry.E(tenantry.Internal, "describe "+action+" for the audit log", err)
	}
	if len(text) > auditDetail {
		text = append(bytes.ToValidUTF8(text[:auditDetail:auditDetail], nil), "..."...) // half a rune is no text
	}
	return s.Catalog.Fleet().Audit(ctx, catalog.AuditEntry{
		At: s.Now(), Actor: by.key(), Tenant: tenant, Action: action, Detail: string(text), Source: by.source,
	})
}

// get, post, patch and remove describe operations; the ID is "noun-verb" and names the
// method of the generated client.
func get(id, tag, path, summary string) huma.Operation {
	return operation(http.MethodGet, http.StatusOK, id, tag, path, summary)
}

func post(status int, id, tag, path, summary string) huma.Operation {
	return operation(http.MethodPost, status, id, tag, path, summary)
}

func patch(id, tag, path, summary string) huma.Operation {
	return operation(http.MethodPatch, http.StatusOK, id, tag, path, summary)
}

func remove(id, tag, path, summary string) huma.Operation {
	return operation(http.MethodDelete, http.StatusNoContent, id, tag, path, summary)
}

func operation(method string, status int, id, tag, path, summary string) huma.Operation {
	return huma.Operation{
		OperationID: id, Method: method, Path: path, Summary: summary,
		Tags: []string{tag}, DefaultStatus: status, MaxBodyBytes: bodyLimit, BodyReadTimeout: bodyTimeout,
	}
}
