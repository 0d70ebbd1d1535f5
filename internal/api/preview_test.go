package api_test

import (
	"net/http"
	"testing"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// What no application may write is refused where it is previewed as where it is started, and says where a group's files
// are.
func TestNoPreviewOfWhatNobodyMayWrite(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	id := h.addConnected("Contoso", contosoGUID)
	for _, path := range []string{"/restores", "/restores/preview"} {
		r := h.call("POST", "/v1/tenants/"+string(id)+path, map[string]any{"resource": ada, "workload": "group", "snapshot": 7})
		h.problemWith(r, http.StatusUnprocessableEntity, tenantry.Invalid, "body.workload")
		h.problemWith(r, http.StatusUnprocessableEntity, tenantry.Invalid, "a resource of its own")
	}
}
