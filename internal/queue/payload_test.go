package queue

import (
	"testing"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// A delivery of the next release may say more than this one knows; one that names no task is none.
func TestPayloadOfTheNextRelease(t *testing.T) {
	t.Parallel()
	want := Ref{Tenant: "t-1", Task: "abc", Admission: 7}
	got, err := decode([]byte(`{"tenantId":"t-1","taskId":"abc","admission":"7","pool":"sydney","more":{"deep":[1,{}]}}`))
	if err != nil || got != want {
		t.Errorf("got %+v (%v), want %+v", got, err, want)
	}
	for _, payload := range []string{"", "{}", `{"tenantId":"t-1"}`, `[]`, `{"tenantId":7}`} {
		if _, err := decode([]byte(payload)); tenantry.KindOf(err) != tenantry.Invalid {
			t.Errorf("%q: %v", payload, err)
		}
	}
}
