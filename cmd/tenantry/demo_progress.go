package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// tenantBars shows one bar per tenant: live on a terminal, a line at every tenth elsewhere.
// Safe for concurrent use.
type tenantBars struct {
	out  io.Writer
	live *mpb.Progress // nil when not on a terminal

	mu   sync.Mutex
	bars map[string]*bar
}

type bar struct {
	name  string
	total int64
	tenth int64 // last printed
	live  *mpb.Bar
}

func newTenantBars(out io.Writer, tenants []*protected, totals map[string]int64) *tenantBars {
	p := &tenantBars{out: out, bars: map[string]*bar{}}
	if isTerminal(out) {
		p.live = mpb.New(mpb.WithOutput(out), mpb.WithWidth(40), mpb.WithRefreshRate(200*time.Millisecond))
	}
	for _, t := range tenants {
		b := &bar{name: t.Name, total: max(totals[t.Id], 1)}
		if p.live != nil {
			b.live = p.live.AddBar(b.total,
				mpb.PrependDecorators(decor.Name(fmt.Sprintf("              %-12s", t.Name))),
				mpb.AppendDecorators(decor.CountersNoUnit("%d / %d items"), decor.Elapsed(decor.ET_STYLE_GO, decor.WC{W: 6})))
		}
		p.bars[t.Id] = b
	}
	return p
}

func isTerminal(out io.Writer) bool {
	f, ok := out.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// show moves a tenant's bar. It is complete only when its run is done.
func (p *tenantBars) show(tenant string, items int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := p.bars[tenant]
	items = min(items, b.total-1)
	if b.live != nil {
		b.live.SetCurrent(items)
		return
	}
	if tenth := items * 10 / b.total; tenth > b.tenth {
		b.tenth = tenth
		fmt.Fprintf(p.out, "              %-12s %d / %d items\n", b.name, items, b.total)
	}
}

// done completes a tenant's bar, or leaves it where it is.
func (p *tenantBars) done(tenant string, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := p.bars[tenant]
	switch {
	case b.live != nil && ok:
		b.live.SetCurrent(b.total)
	case b.live != nil:
		b.live.Abort(false)
	case ok:
		fmt.Fprintf(p.out, "              %-12s done\n", b.name)
	}
}

func (p *tenantBars) wait() {
	if p.live != nil {
		p.live.Wait()
	}
}
