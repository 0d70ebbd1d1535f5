package throttle

import "github.com/tenantry/tenantry/internal/tenantry"

// KeyPatterns are the keys that a process needs which works for these tenants alone, as rules of Redis's access control lists
// ("~pattern"): what all tenants of the application share (its own accounts, what cools, the book's mark), and theirs. IDs of
// tenants hold nothing that a pattern would take for a wildcard.
func KeyPatterns(app string, tenants []tenantry.TenantID) []string {
	prefix := "~" + bookPrefix(app)
	rules := make([]string, 0, 8+2*len(tenants))
	for _, name := range []string{"book", "cool", "news", "days", "paces", accountKey("app"), accountKey("app/*")} {
		rules = append(rules, prefix+name)
	}
	for _, t := range tenants {
		rules = append(rules, prefix+accountKey("*/"+string(t)), prefix+accountKey("*/"+string(t)+"/*"), prefix+permitsKey(string(t)+"/*"))
	}
	return rules
}
