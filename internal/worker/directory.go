package worker

import (
	"context"

	"github.com/tenantry/tenantry/internal/tenantry"
)

func (j *job) connect(ctx context.Context) (end, error) {
	var req tenantry.ConnectRequest
	if err := j.params(&req); err != nil {
		return end{}, err
	}
	if req.Register {
		next, err := j.cfg.Directory.Register(ctx, j.claim.Tenant)
		return end{done: next.IsZero(), notBefore: next}, fromGraph(err)
	}
	if err := j.cfg.Directory.Connect(ctx, j.claim.Tenant, req); err != nil {
		return end{}, fromGraph(err)
	}
	return end{done: true}, nil
}

func (j *job) sync(ctx context.Context) (end, error) {
	// A sync ends its pages in transactions of their own; a drain may end it anywhere.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stopped := make(chan struct{})
	defer func() { cancel(); <-stopped }()
	go func() {
		defer close(stopped)
		select {
		case <-j.drain:
			cancel()
		case <-ctx.Done():
		}
	}()
	counts, err := j.cfg.Directory.Sync(ctx, j.claim.Tenant)
	return end{done: err == nil, counts: counts}, fromGraph(ended(ctx, err))
}
