package worker

import (
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/catalog"
	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// live tells which snapshots the bucket keeps, and that SQL mirrors them.
func (h *house) live() []int64 {
	h.t.Helper()
	repo, err := h.Open(h.t.Context(), h.tenant)
	h.must(err)
	snapshots, err := repo.Snapshots(h.t.Context(), tenantry.Series{Tenant: h.tenant, Resource: "u-ann", Workload: tenantry.Drive})
	h.must(err)
	var seqs []int64
	for _, s := range snapshots {
		seqs = append(seqs, s.Seq)
	}
	return seqs
}

func (h *house) prune() catalog.Task {
	h.t.Helper()
	return h.done(h.start(catalog.NewTask{Resource: "u-ann", Workload: tenantry.Drive, Action: tenantry.Prune}).ID)
}

// removeMost seals a snapshot without most of the items, as after an attack.
func (h *house) removeMost() {
	h.t.Helper()
	ctx := h.t.Context()
	repo, err := h.Open(ctx, h.tenant)
	h.must(err)
	w, err := repo.Begin(ctx, tenantry.Series{Tenant: h.tenant, Resource: "u-ann", Workload: tenantry.Drive}, repository.Fence{Epoch: 1000, Task: "attack"})
	h.must(err)
	defer w.Close()
	removed := 0
	for e, err := range w.Entries(ctx) {
		h.must(err)
		if removed < 200 && !e.Place() {
			h.must(w.Remove(ctx, e.ID))
			removed++
		}
	}
	_, err = w.Seal(ctx, time.Now())
	h.must(err)
}

func TestPrune(t *testing.T) {
	h := newHouse(t)
	cfg := h.config()
	cfg.MassChange = 0.5
	h.worker(cfg)
	at := time.Now().UTC().Add(12 * time.Hour)
	h.must(h.scope().AddPolicy(t.Context(), catalog.Policy{
		ID: "p-1", Name: "keeps one", Kinds: []tenantry.ResourceKind{tenantry.User}, Workloads: []tenantry.Workload{tenantry.Drive},
		At: at.Hour()*60 + at.Minute(), Window: 1, TimeZone: "UTC", Retention: tenantry.Retention{Last: 1},
	}, time.Now()))
	h.done(h.backup().ID)
	second := h.done(h.backup().ID).Snapshot

	h.must(h.scope().SetHold(t.Context(), catalog.Hold{Resource: "u-ann", Reason: "case 7", At: time.Now()}))
	if got := h.prune(); got.Counts.Total != 0 || len(h.live()) != 2 {
		t.Errorf("a hold does not hold: %+v, live %v", got.Counts, h.live())
	}
	h.must(h.scope().LiftHold(t.Context(), "u-ann"))
	if got := h.prune(); got.Counts.Total != 1 || got.Counts.Stored == 0 || len(h.live()) != 1 || h.live()[0] != second {
		t.Errorf("%+v, live %v", got.Counts, h.live())
	}
	if rows := h.snapshots(); len(rows) != 1 || rows[0].Seq != second {
		t.Errorf("mirrored are %v", rows)
	}

	h.removeMost()
	if got := h.prune(); got.Counts.Total != 0 || !strings.Contains(got.Reason, "200 were removed") || len(h.live()) != 2 {
		t.Errorf("a mass change is pruned: %+v %q, live %v", got.Counts, got.Reason, h.live())
	}
	h.done(h.backup().ID)
	if got := h.prune(); got.Counts.Total != 0 || len(h.live()) != 3 {
		t.Errorf("a later snapshot ends the suspension: %+v, live %v", got.Counts, h.live())
	}
	h.must(h.scope().Acknowledge(t.Context(), "u-ann", tenantry.Drive))
	if got := h.prune(); got.Counts.Total != 2 || got.Reason != "" || len(h.live()) != 1 {
		t.Errorf("%+v %q, live %v", got.Counts, got.Reason, h.live())
	}
	h.done(h.start(catalog.NewTask{Action: tenantry.Collect}).ID)
	h.done(h.backup().ID)
}

// What was deleted en masse is an alarm as soon as it was backed up, once, and suspends pruning until somebody
// acknowledges it; a few deletions are none.
func TestMassChangeIsSeenByTheBackup(t *testing.T) {
	h := newHouse(t)
	cfg := h.config()
	cfg.MassChange = 0.5
	h.worker(cfg)
	alarms := func() []catalog.TenantAlarm {
		t.Helper()
		list, err := h.scope().Alarms(t.Context())
		h.must(err)
		return list
	}
	h.done(h.backup().ID)
	h.source.gone.Store(100)
	h.done(h.backup().ID)
	if list := alarms(); len(list) != 0 {
		t.Fatalf("100 of 250 items went, and alarms are %+v", list)
	}
	h.source.gone.Store(240)
	h.done(h.backup().ID)
	list := alarms()
	if len(list) != 1 || list[0].Cause != catalog.AlarmMassChange || list[0].Subject != "u-ann/drive" || !strings.Contains(list[0].Detail, "of 150 items") || !strings.Contains(list[0].Detail, "140 were removed") {
		t.Fatalf("140 of 150 items went, and alarms are %+v", list)
	}
	if got := h.prune(); got.Counts.Total != 0 || !strings.Contains(got.Reason, "140 were removed") || len(h.live()) != 3 {
		t.Errorf("a mass change is pruned: %+v %q, live %v", got.Counts, got.Reason, h.live())
	}
	h.must(h.scope().Acknowledge(t.Context(), "u-ann", tenantry.Drive))
	h.done(h.backup().ID)
	if list := alarms(); len(list) != 0 {
		t.Errorf("what was acknowledged is an alarm again: %+v", list)
	}
}
