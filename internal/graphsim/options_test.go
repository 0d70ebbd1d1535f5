package graphsim_test

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/internal/graphsim"
)

// ask sends a GET; its answer is nil unless it is JSON.
func (w *optionWorld) ask(path, options string) (int, object) {
	w.t.Helper()
	target := path
	if options != "" {
		target = query(path, options)
	}
	resp := w.do("GET", target, nil, eventual...)
	defer resp.Body.Close()
	var body object
	_ = json.NewDecoder(resp.Body).Decode(&body) // not everything is JSON
	return resp.StatusCode, body
}

// items are the objects of an answer: of a list those of its page.
func items(body object) []object {
	if _, list := body["value"].([]any); list {
		return values(body)
	}
	return []object{body}
}

// needed is what some paths cannot be asked without.
func needed(pattern string) string {
	if strings.Contains(pattern, "calendarView") || strings.HasSuffix(pattern, "/instances") {
		return "startDateTime=2025-06-01T00:00:00Z&endDateTime=2027-06-01T00:00:00Z"
	}
	if pattern == "sites" {
		return "search=*"
	}
	return ""
}

func with(options ...string) string {
	return strings.Join(slices.DeleteFunc(options, func(o string) bool { return o == "" }), "&")
}

// property is the spelling in an object of a property that is there and no annotation.
func spelling(list []object, lower string) string {
	for _, item := range list {
		for name, value := range item {
			if strings.EqualFold(name, lower) && value != nil {
				return name
			}
		}
	}
	return ""
}

// refused are routes that answer nobody: whatever is asked, this is the status.
var refused = map[string]int{"directory/deletedItems": http.StatusBadRequest} // it needs a type

// ofPeople are routes that applications are refused: a person asks.
var ofPeople = map[string]bool{"groups/{group}/events": true}

// short are lists of one object, by what they are. What needs more to be shown is shown by
// another route, which has the same handler and takes the same options.
var short = map[string]string{
	"users/{user}/drives": "sites/{site}/drives",
	"groups/{group}/conversations/{conversation}/threads": "groups/{group}/threads",
}

// theSame reports whether two routes are one in two places.
func theSame(pattern, other string) bool {
	all := graphsim.Routes()
	find := func(pattern string) graphsim.RouteInfo {
		return all[slices.IndexFunc(all, func(rt graphsim.RouteInfo) bool { return rt.Method == http.MethodGet && rt.Pattern == pattern })]
	}
	a, b := find(pattern), find(other)
	return a.Handler == b.Handler && slices.Equal(a.Options, b.Options) && a.Type == b.Type && maps.Equal(a.Properties, b.Properties)
}

// heldElsewhere are options that a test of their own holds, by the end of the path and the
// option; their values are refused here unless they make sense.
var heldElsewhere = map[string]string{
	"users/delta $filter":              "$filter takes up to 50 ids and nothing else",
	"groups/delta $filter":             "$filter takes up to 50 ids and nothing else",
	"items/delta $filter":              "item delta takes $filter and $orderby on receivedDateTime as messages have them",
	"items/delta $orderby":             "item delta takes $filter and $orderby on receivedDateTime as messages have them",
	"messages/delta $filter":           "delta with a filter on receivedDateTime lists newer messages, newest first",
	"messages/delta $orderby":          "delta with a filter on receivedDateTime lists newer messages, newest first",
	"llMessages $filter":               "getAllMessages takes the model, $top and a range of lastModifiedDateTime",
	"llMessages model":                 "getAllMessages takes the model, $top and a range of lastModifiedDateTime",
	"attachments $expand":              "an item attachment shows its item when expanded, thirty levels deep",
	"attachments/{attachment} $expand": "an item attachment shows its item when expanded, thirty levels deep",
}

// TestEveryOptionIsHonoured asks every route for every option that it takes, and looks
// whether the answer is what the option says. An option that a route does not take is
// refused (TestNoOptionPassesSilently), so none passes silently.
func TestEveryOptionIsHonoured(t *testing.T) {
	t.Parallel()
	w := newOptionWorld(t)
	for _, rt := range graphsim.Routes() {
		if rt.Method != http.MethodGet || alias.MatchString(rt.Pattern) {
			continue
		}
		path, ok := w.path(rt.Pattern)
		if !ok {
			t.Errorf("%s: nothing stands for %s", rt.Pattern, path)
			continue
		}
		application := w.token
		if ofPeople[rt.Pattern] {
			w.refused(http.StatusForbidden, "GET", path, nil)
			w.token = w.person
		}
		w.proveRoute(rt, path)
		w.token = application
	}
	for pattern, other := range short {
		if !theSame(pattern, other) {
			t.Errorf("%s is not %s in another place", pattern, other)
		}
	}
	w.everyPropertyWasSeen()
}

// proveRoute asks a route for each option that it takes.
func (w *optionWorld) proveRoute(rt graphsim.RouteInfo, path string) {
	w.t.Helper()
	status, plain := w.ask(path, needed(rt.Pattern))
	if want, never := refused[rt.Pattern]; never && status == want && len(rt.Options) == 0 {
		return
	}
	if status != http.StatusOK && status != http.StatusFound {
		w.t.Errorf("%s: %d %v", rt.Pattern, status, plain)
		return
	}
	w.look(rt, path, plain)
	for _, option := range rt.Options {
		if message := w.honours(rt, path, plain, option); message != "" {
			w.t.Errorf("%s %s: %q", rt.Pattern, option, message)
		}
	}
}

func (w *optionWorld) everyPropertyWasSeen() {
	w.t.Helper()
	for of, properties := range w.seen {
		for name, seen := range properties {
			if !seen && !slices.Contains(onlyWhenSet[strings.TrimPrefix(of, "microsoft.graph.")], name) {
				w.t.Errorf("%s has a property %s that no answer shows", of, name)
			}
		}
	}
}

// alias are paths that are declared together with others, which are asked: what is addressed
// by path or through a calendar (driveItemRoutes, eventBases).
var alias = regexp.MustCompile(`@path|/calendar/|/calendars/\{calendar\}/|^users/\{user\}/chats/\{chat\}/messages`)

// onlyWhenSet are the properties that an object has only when somebody set them, or that say
// what kind of object it is; no object of this world has them.
var onlyWhenSet = map[string][]string{
	"columnDefinition": {"calculated", "columngroup", "contentapprovalstatus", "currency", "defaultvalue", "description", "enforceuniquevalues",
		"geolocation", "hyperlinkorpicture", "indexed", "personorgroup", "required", "term", "thumbnail", "validation"},
	"driveItem":     {"bundle", "deleted", "description", "malware", "package", "remoteitem", "specialfolder"},
	"site":          {"deleted", "error"},
	"listItem":      {"deleted"},
	"permission":    {"expirationdatetime", "invitation"},
	"event":         {"transactionid"},
	"todoTask":      {"completeddatetime", "duedatetime", "recurrence", "reminderdatetime", "startdatetime"},
	"checklistItem": {"checkeddatetime"},
	"mailboxItem":   {"receiveddatetime"}, // for filters alone
}

// look notes which properties of a type answers have, when all are selected and when none.
func (w *optionWorld) look(rt graphsim.RouteInfo, path string, plain object) {
	if rt.Type == "" || !slices.Contains(rt.Options, "$select") {
		return
	}
	if w.seen[rt.Type] == nil {
		w.seen[rt.Type] = map[string]bool{}
	}
	names := []string{}
	for name, p := range rt.Properties {
		if p.Navigation || p.SingleOnly && !rt.Single || name == "content.downloadurl" {
			continue // another name of @microsoft.graph.downloadUrl
		}
		if _, known := w.seen[rt.Type][name]; !known {
			w.seen[rt.Type][name] = false // from now on it has to be seen
		}
		if view := strings.HasSuffix(rt.Pattern, "alendarView"); !view || name != "createddatetime" && name != "lastmodifieddatetime" {
			names = append(names, name)
		}
	}
	_, all := w.ask(path, with(needed(rt.Pattern), "$select="+strings.Join(names, ",")))
	for _, item := range append(items(plain), items(all)...) {
		for name := range item {
			w.seen[rt.Type][strings.ToLower(name)] = true
		}
	}
}

// honours returns what is wrong with the answer to an option, "" if nothing.
func (w *optionWorld) honours(rt graphsim.RouteInfo, path string, plain object, option string) string {
	for key := range heldElsewhere {
		if strings.HasSuffix(rt.Pattern+" "+option, key) {
			return ""
		}
	}
	if _, few := short[rt.Pattern]; few && slices.Contains([]string{"$top", "$skip", "$orderby"}, option) {
		if n := len(values(plain)); n != 1 {
			return fmt.Sprintf("the list has %d objects", n)
		}
		return ""
	}
	q := question{optionWorld: w, rt: rt, path: path, plain: plain}
	check := map[string]func() string{"$select": q.selects, "$top": q.tops, "$skip": q.skips, "$count": q.counts, "$orderby": q.orders,
		"$filter": q.filters, "$expand": q.expands, "$search": q.searches, "$skiptoken": q.token("$skiptoken"),
		"$deltatoken": q.token("$deltatoken"), "token": q.token("token"), "includeHiddenFolders": q.hidden, "changeType": q.change,
		"startDateTime": q.times("startDateTime"), "endDateTime": q.times("endDateTime"), "search": q.finds}[option]
	if check == nil {
		return "no test knows this option"
	}
	return check()
}

// question is one route that is asked.
type question struct {
	*optionWorld
	rt    graphsim.RouteInfo
	path  string
	plain object
}

func (q question) options(more string) (int, object) {
	return q.ask(q.path, with(needed(q.rt.Pattern), more))
}

func (q question) selects() string {
	list := items(q.plain)
	for _, name := range slices.Sorted(maps.Keys(q.rt.Properties)) {
		picked := spelling(list, name)
		if picked == "" || picked == "id" || q.rt.Properties[name].Navigation || strings.HasPrefix(picked, "@") ||
			strings.HasSuffix(name, "datetime") { // which calendarView refuses
			continue
		}
		status, body := q.options("$select=" + picked)
		if status != http.StatusOK || spelling(items(body), picked) == "" {
			return fmt.Sprintf("$select=%s: %d %v", picked, status, body)
		}
		for _, item := range items(body) {
			for other := range item {
				if other != picked && other != "id" && !strings.Contains(other, "@") {
					return fmt.Sprintf("$select=%s shows %s", picked, other)
				}
			}
		}
		return ""
	}
	if q.rt.Properties == nil { // an open type
		_, body := q.options("$select=Title")
		if len(body) == 0 || body["ContentType"] != nil {
			return fmt.Sprint(body)
		}
		return ""
	}
	return "no property to select"
}

// tops follows two pages of one object each.
func (q question) tops() string {
	status, body := q.options("$top=1")
	if status != http.StatusOK || len(values(body)) != 1 {
		return fmt.Sprintf("%d %v", status, body)
	}
	if len(values(q.plain)) < 2 {
		return "the list is too short for a proof"
	}
	next, more := body["@odata.nextLink"].(string)
	if !more {
		return "no nextLink"
	}
	if status, body = q.ask(next, ""); status != http.StatusOK || len(values(body)) > 1 {
		return fmt.Sprintf("the next page has %d", len(values(body)))
	}
	return ""
}

func (q question) skips() string {
	status, body := q.options("$skip=1")
	all := values(q.plain)
	if len(all) < 2 {
		return "the list is too short for a proof"
	}
	if status != http.StatusOK || values(body)[0]["id"] != all[1]["id"] {
		return fmt.Sprintf("%d %v", status, body)
	}
	return ""
}

func (q question) counts() string {
	status, body := q.options("$count=true&$top=1")
	all, _, _ := q.round(query(q.path, with(needed(q.rt.Pattern), "$top=100")))
	if status != http.StatusOK || body["@odata.count"] != float64(len(all)) {
		return fmt.Sprintf("%d, @odata.count %v of %d", status, body["@odata.count"], len(all))
	}
	return ""
}

// scalar is a value that a filter can name.
func scalar(v any) (literal string, ok bool) {
	switch v := v.(type) {
	case bool:
		return fmt.Sprint(v), true
	case string:
		if _, err := time.Parse(time.RFC3339Nano, v); err == nil {
			return v, true
		}
		return "'" + strings.ReplaceAll(v, "'", "''") + "'", true
	}
	return "", false
}

// counting makes an advanced query of one, where there is such a thing.
func (q question) counting() string {
	if slices.Contains(q.rt.Options, "$count") {
		return "$count=true"
	}
	return ""
}

func (q question) filters() string {
	if strings.HasSuffix(q.rt.Pattern, "/$count") {
		return q.counted("$filter=displayName eq 'no such value'")
	}
	for _, name := range slices.Sorted(maps.Keys(q.rt.Properties)) {
		picked := spelling(items(q.plain), name)
		if !q.rt.Properties[name].Filter || picked == "" {
			continue
		}
		want := values(q.plain)[len(values(q.plain))-1][picked]
		literal, ok := scalar(want)
		if !ok {
			continue
		}
		status, body := q.options(with("$filter="+picked+" eq "+literal, q.counting()))
		if status != http.StatusOK || len(values(body)) == 0 {
			return fmt.Sprintf("%s eq %s: %d %v", picked, literal, status, body)
		}
		for _, item := range values(body) {
			if got, shown := item[picked]; shown && got != want {
				return fmt.Sprintf("%s eq %s shows %v", picked, literal, got)
			}
		}
		if literal[0] == '\'' {
			if _, none := q.options(with("$filter="+picked+" eq 'no such value'", q.counting())); len(values(none)) > 0 {
				return picked + " eq 'no such value' finds something"
			}
			return ""
		}
	}
	return "no property to filter by"
}

func (q question) orders() string {
	for _, name := range slices.Sorted(maps.Keys(q.rt.Properties)) {
		picked := spelling(items(q.plain), name)
		if !q.rt.Properties[name].Order || picked == "" {
			continue
		}
		distinct := map[string]bool{}
		for _, item := range values(q.plain) {
			if text, ok := item[picked].(string); ok {
				distinct[text] = true
			}
		}
		if len(distinct) < 2 {
			continue
		}
		_, up := q.options(with("$orderby="+picked, q.counting()))
		_, down := q.options(with("$orderby="+picked+" desc", q.counting()))
		if a, b := sequence(up, picked), sequence(down, picked); !slices.IsSorted(a) || len(a) < 2 || slices.IsSorted(b) {
			return fmt.Sprintf("%s: up %v, down %v", picked, a, b)
		}
		return ""
	}
	return "no property to sort by"
}

func sequence(body object, property string) (list []string) {
	for _, item := range items(body) {
		text, _ := item[property].(string)
		list = append(list, strings.ToLower(text))
	}
	return list
}

// expands asks for each relation: it is there, or refused.
func (q question) expands() string {
	shown := 0
	for _, name := range slices.Sorted(maps.Keys(q.rt.Properties)) {
		if !q.rt.Properties[name].Navigation {
			continue
		}
		asked := name
		if name == "singlevalueextendedproperties" {
			asked = "singleValueExtendedProperties($filter=id eq 'Integer 0x0E07')"
		}
		status, body := q.options("$expand=" + asked)
		switch {
		case status == http.StatusBadRequest:
		case status != http.StatusOK:
			return fmt.Sprintf("$expand=%s: %d %v", asked, status, body)
		case spelling(items(body), name) == "":
			return "$expand=" + asked + " shows nothing"
		default:
			shown++
		}
	}
	if shown == 0 {
		return "nothing can be expanded"
	}
	return ""
}

// counted asks a /$count path for what is not there.
func (q question) counted(options string) string {
	resp := q.do("GET", query(q.path, options), nil, eventual...)
	defer resp.Body.Close()
	if data, _ := io.ReadAll(resp.Body); string(data) != "0" {
		return fmt.Sprintf("%s: %s", options, data)
	}
	return ""
}

func (q question) searches() string {
	if strings.HasSuffix(q.rt.Pattern, "/$count") {
		return q.counted(`$search="displayName:zzzzqq"`)
	}
	name := spelling(items(q.plain), "displayName")
	if name == "" {
		return "no displayName"
	}
	text := fmt.Sprint(values(q.plain)[0][name])
	word, _, _ := strings.Cut(text, " ")
	status, found := q.options(`$search="displayName:` + word + `"&$count=true`)
	_, none := q.options(`$search="displayName:zzzzqq"&$count=true`)
	if status != http.StatusOK || len(values(found)) == 0 || len(values(none)) > 0 {
		return fmt.Sprintf("%d: %d found, %d of nothing", status, len(values(found)), len(values(none)))
	}
	return ""
}

// token sends one that nobody gave out.
func (q question) token(name string) func() string {
	return func() string {
		if status, body := q.options(name + "=made-up"); status < 400 {
			return fmt.Sprintf("a made-up token answers %d %v", status, body)
		}
		return ""
	}
}

func (q question) hidden() string {
	_, all := q.options("includeHiddenFolders=true&$top=100")
	_, shown := q.options("$top=100")
	if len(values(all)) <= len(values(shown)) {
		return fmt.Sprintf("%d with hidden folders, %d without", len(values(all)), len(values(shown)))
	}
	return ""
}

func (q question) change() string {
	if status, _ := q.options("changeType=nonsense"); status != http.StatusBadRequest {
		return fmt.Sprint("nonsense answers ", status)
	}
	return ""
}

func (q question) times(name string) func() string {
	return func() string {
		bad := url.Values{"startDateTime": {"2025-06-01T00:00:00Z"}, "endDateTime": {"2027-06-01T00:00:00Z"}}
		if needed(q.rt.Pattern) == "" {
			bad = url.Values{}
		}
		bad.Set(name, "yesterday")
		if status, _ := q.ask(q.path+"?"+bad.Encode(), ""); status != http.StatusBadRequest {
			return fmt.Sprint("yesterday answers ", status)
		}
		return ""
	}
}

func (q question) finds() string {
	_, none := q.ask(q.path, "search=zzzzqq")
	if len(values(none)) > 0 || len(values(q.plain)) == 0 {
		return "it finds what is not there"
	}
	return ""
}
