package graphsim_test

import (
	"testing"

	"github.com/tenantry/tenantry/internal/graphsim"
)

// Generated conversations are what the truth says, and their newest post says when a
// thread changed.
func TestConversationsEqualTruth(t *testing.T) {
	t.Parallel()
	_, c := start(t, graphsim.Options{}, graphsim.TenantSpec{Users: 2, Groups: 1, ThreadsPerGroup: 12})
	group := c.tenant.Groups()[0].ID
	truth, err := c.tenant.PostTruth(group)
	must(t, err)
	bodies := map[string]bool{}
	for _, p := range truth {
		bodies[p.Body] = true
	}
	seen := 0
	threads, _, pages := c.round("groups/" + group + "/threads")
	for _, thread := range threads {
		posts, _, _ := c.round("groups/" + group + "/threads/" + thread["id"].(string) + "/posts")
		for _, p := range posts {
			seen++
			if !bodies[sha([]byte(p["body"].(object)["content"].(string)))] || p["receivedDateTime"].(string) > thread["lastDeliveredDateTime"].(string) {
				t.Errorf("%v of %v is not in the truth", p["id"], thread["topic"])
			}
		}
	}
	if len(threads) != 12 || pages != 2 || seen != len(truth) {
		t.Errorf("%d threads in %d pages, %d posts of %d", len(threads), pages, seen, len(truth))
	}
	before := c.get("groups/" + group + "/threads/" + threads[0]["id"].(string))["lastDeliveredDateTime"].(string)
	must(t, c.tenant.AddPost(group, threads[0]["topic"].(string), "late"))
	if after := c.get("groups/" + group + "/threads/" + threads[0]["id"].(string))["lastDeliveredDateTime"].(string); after <= before {
		t.Errorf("a post at %s left the thread at %s", after, before)
	}
}
