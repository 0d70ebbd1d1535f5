package repository_test

import "testing"

func TestDiffer(t *testing.T) {
	t.Parallel()
	a := aging(t, folder(t))
	first := a.snapshot(t, mailbox, []int{1, 2, 3, 4, 5, 6})
	w := a.writer(t, mailbox)
	e := message(t, w, 2)
	e.Parts = nil
	other, err := w.PutPayload(t.Context(), mail(99, 500))
	must(t, err)
	e.Payload = other
	must(t, w.Put(t.Context(), e))
	must(t, w.Remove(t.Context(), messageID(1)))
	must(t, w.Remove(t.Context(), messageID(6)))
	message(t, w, 7)
	second := seal(t, w).Seq
	d, err := a.Differ(t.Context(), mailbox, first, second, 0)
	must(t, err)
	if d.Before != 6 || d.Changed != 1 || d.Removed != 2 {
		t.Errorf("%+v", d)
	}
	d, err = a.Differ(t.Context(), mailbox, first, second, 5)
	must(t, err)
	if d.Changed+d.Removed < 3 || d.Changed+d.Removed > 24 {
		t.Errorf("bound %+v", d)
	}
}
