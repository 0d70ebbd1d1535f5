package graphsim_test

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tenantry/tenantry/internal/graphsim"
)

// writable leaves out what a client must not write: annotations, the service's own,
// and what would send mail.
func writable(item object, drop ...string) object {
	out := object{}
	for name, value := range item {
		if !strings.Contains(name, "@") && value != nil {
			out[name] = value
		}
	}
	for _, name := range append(drop, "id", "exceptionOccurrences", "cancelledOccurrences", "attachments", "transactionId", "attendees") {
		delete(out, name)
	}
	return out
}

// restoreContacts copies every contact into the default folder of another mailbox.
func (c *client) restoreContacts(from, to string) {
	c.t.Helper()
	truth, err := c.tenant.ContactTruth(from)
	must(c.t, err)
	for _, want := range truth {
		source := "users/" + from + "/contacts/" + want.ID
		made := c.want(201, "POST", "users/"+to+"/contacts", writable(c.get(source)))
		if want.Photo == "" {
			c.refused(404, "GET", source+"/photo/$value", nil)
			continue
		}
		resp := c.do("PUT", "users/"+to+"/contacts/"+made["id"].(string)+"/photo/$value", c.bytes(source+"/photo/$value"), "Content-Type", "image/jpeg")
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			c.t.Fatalf("photo: %d", resp.StatusCode)
		}
	}
}

func compareContacts(t *testing.T, c *client, from, to string) {
	t.Helper()
	want, err := c.tenant.ContactTruth(from)
	must(t, err)
	got, err := c.tenant.ContactTruth(to)
	must(t, err)
	less := cmpopts.SortSlices(func(x, y graphsim.ContactTruth) bool { return x.Digest+x.Photo < y.Digest+y.Photo })
	if diff := cmp.Diff(want, got, less, cmpopts.IgnoreFields(graphsim.ContactTruth{}, "ID", "Path")); diff != "" {
		t.Errorf("contacts: %s", diff)
	}
}

// restoreEvents copies every event the mailbox owns into the default calendar of
// another one, series with their exceptions and cancellations, without attendees.
func (c *client) restoreEvents(from, to string) {
	c.t.Helper()
	truth, err := c.tenant.EventTruth(from)
	must(c.t, err)
	for _, e := range truth {
		if !e.Shared {
			c.restoreEvent(from, to, e.ID)
		}
	}
}

func (c *client) restoreEvent(from, to, id string) {
	c.t.Helper()
	source := "users/" + from + "/events/" + id
	clocks := c.get(source + "?$select=originalStartTimeZone,originalEndTimeZone")
	in := func(clock any) object {
		return c.want(200, "GET", source+"?$expand=exceptionOccurrences", nil, "Prefer", fmt.Sprintf(`IdType="ImmutableId", outlook.timezone="%v"`, clock))
	}
	event := in(clocks["originalStartTimeZone"])
	event["end"] = in(clocks["originalEndTimeZone"])["end"]
	made := c.want(201, "POST", "users/"+to+"/events", writable(event))["id"].(string)
	target := "users/" + to + "/events/" + made
	c.copyAttachments(source, target)
	exceptions, _ := event["exceptionOccurrences"].([]any)
	for _, v := range exceptions {
		exception := v.(object)
		day := exception["originalStart"].(string)
		c.want(200, "PATCH", c.instanceOn(target, day), writable(exception, "recurrence"))
	}
	cancelled, _ := c.get(source + "?$select=cancelledOccurrences")["cancelledOccurrences"].([]any)
	for _, name := range cancelled {
		date := name.(string)[strings.LastIndexByte(name.(string), '.')+1:]
		for _, occurrence := range c.want(200, "GET", target+"/instances?startDateTime="+date+"T00:00:00%2B14:00&endDateTime="+date+"T23:59:59-12:00&$select=occurrenceId", nil)["value"].([]any) {
			if strings.HasSuffix(occurrence.(object)["occurrenceId"].(string), date) {
				c.want(204, "DELETE", "users/"+to+"/events/"+occurrence.(object)["id"].(string), nil)
			}
		}
	}
}

// instanceOn finds the instance of a series that begins at a moment.
func (c *client) instanceOn(series, start string) string {
	c.t.Helper()
	list := c.get(series + "/instances?startDateTime=" + start + "&endDateTime=" + strings.Replace(start, "Z", ".1Z", 1))["value"].([]any)
	for _, v := range list {
		if v.(object)["originalStart"] == start {
			return series[:strings.LastIndexByte(series, '/')+1] + v.(object)["id"].(string)
		}
	}
	c.t.Fatalf("no instance of %s at %s: %v", series, start, list)
	return ""
}

func (c *client) copyAttachments(source, target string) {
	c.t.Helper()
	attachments, _, _ := c.round(source + "/attachments?$select=id,name,size,contentType")
	for _, a := range attachments {
		path := source + "/attachments/" + a["id"].(string)
		if a["size"].(float64) >= 3<<20 {
			c.uploadTo(target, a, c.bytes(path+"/$value"))
			continue
		}
		c.want(201, "POST", target+"/attachments", c.get(path+"?$expand=microsoft.graph.itemattachment/item"))
	}
}

func (c *client) uploadTo(target string, a object, data []byte) {
	c.t.Helper()
	session := c.want(201, "POST", target+"/attachments/createUploadSession",
		object{"AttachmentItem": object{"attachmentType": "file", "name": a["name"], "size": len(data), "contentType": a["contentType"]}})
	for at := 0; at < len(data); at += 2 << 20 {
		end := min(at+2<<20, len(data))
		resp := c.do("PUT", session["uploadUrl"].(string), data[at:end], "Content-Range", fmt.Sprintf("bytes %d-%d/%d", at, end-1, len(data)))
		resp.Body.Close()
		if resp.StatusCode >= 300 {
			c.t.Fatalf("fragment: %d", resp.StatusCode)
		}
	}
}

func compareEvents(t *testing.T, c *client, from, to string) {
	t.Helper()
	want, err := c.tenant.EventTruth(from)
	must(t, err)
	got, err := c.tenant.EventTruth(to)
	must(t, err)
	less := cmpopts.SortSlices(func(x, y graphsim.EventTruth) bool { return eventKey(x) < eventKey(y) })
	own := cmpopts.IgnoreSliceElements(func(e graphsim.EventTruth) bool { return e.Shared })
	if diff := cmp.Diff(want, got, own, less, cmpopts.EquateEmpty(), cmpopts.IgnoreFields(graphsim.EventTruth{}, "ID", "Calendar", "Attendees")); diff != "" {
		t.Errorf("events: %s", diff)
	}
	sent, err := c.tenant.SentTruth(to)
	must(t, err)
	if len(sent) != 0 {
		t.Errorf("%d messages were sent: %+v", len(sent), sent[0])
	}
}

func eventKey(e graphsim.EventTruth) string {
	return e.Digest + fmt.Sprint(e.Attachments, e.Exceptions, e.Cancelled)
}

func TestContactsAndEventsThereAndBack(t *testing.T) {
	t.Parallel()
	_, c := start(t, graphsim.Options{}, graphsim.TenantSpec{Users: 2, ContactsPerUser: 30, EventsPerUser: 40})
	from := c.tenant.Users()[0].ID
	_, err := c.tenant.Churn(3, 100)
	must(t, err)
	to, err := c.tenant.NewUser("Restored")
	must(t, err)
	c.restoreContacts(from, to)
	compareContacts(t, c, from, to)
	c.restoreEvents(from, to)
	compareEvents(t, c, from, to)
}

func TestCorpusContactsAndEvents(t *testing.T) {
	t.Parallel()
	dir := os.Getenv("TENANTRY_CORPUS")
	if dir == "" {
		t.Skip("SKIPPED: TENANTRY_CORPUS is not set, real contacts and calendars are not served")
	}
	_, c := start(t, graphsim.Options{Corpus: dir}, graphsim.TenantSpec{Users: 1})
	from := c.tenant.Users()[0].ID
	to, err := c.tenant.NewUser("Restored")
	must(t, err)
	c.restoreContacts(from, to)
	compareContacts(t, c, from, to)
	c.restoreEvents(from, to)
	compareEvents(t, c, from, to)
	truth, err := c.tenant.EventTruth(from)
	must(t, err)
	series, exceptions, cancelled := 0, 0, 0
	for _, e := range truth {
		if e.Type == "seriesMaster" {
			series++
		}
		exceptions, cancelled = exceptions+len(e.Exceptions), cancelled+len(e.Cancelled)
	}
	t.Logf("%d events, %d series, %d exceptions, %d cancellations", len(truth), series, exceptions, cancelled)
	if len(truth) < 100 || series < 10 || exceptions == 0 || cancelled == 0 {
		t.Error("the corpus is not read as a whole")
	}
}
