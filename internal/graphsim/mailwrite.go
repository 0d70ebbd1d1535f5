package graphsim

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The MAPI properties that decide how a created message looks (MS-OXPROPS).
const (
	propFlags     = "Integer 0x0E07"    // PidTagMessageFlags
	propSent      = "SystemTime 0x0039" // PidTagClientSubmitTime
	propDelivered = "SystemTime 0x0E06" // PidTagMessageDeliveryTime

	flagRead   = 1
	flagUnsent = 8
)

// readOnly are properties of a message that Graph ignores in what clients write.
var readOnly = []string{"id", "createdDateTime", "lastModifiedDateTime", "changeKey", "parentFolderId", "conversationId",
	"conversationIndex", "webLink", "bodyPreview", "uniqueBody", "hasAttachments", "isDraft", "receivedDateTime", "sentDateTime"}

// setters apply one property of a message's JSON.
var setters = map[string]func(*mailContent, json.RawMessage) error{
	"subject":                    func(c *mailContent, v json.RawMessage) error { return into(v, &c.subject) },
	"body":                       setBody,
	"from":                       func(c *mailContent, v json.RawMessage) (err error) { c.from, err = readAddress(v); return err },
	"sender":                     func(c *mailContent, v json.RawMessage) (err error) { c.sender, err = readAddress(v); return err },
	"toRecipients":               func(c *mailContent, v json.RawMessage) (err error) { c.to, err = readAddresses(v); return err },
	"ccRecipients":               func(c *mailContent, v json.RawMessage) (err error) { c.cc, err = readAddresses(v); return err },
	"bccRecipients":              func(c *mailContent, v json.RawMessage) (err error) { c.bcc, err = readAddresses(v); return err },
	"replyTo":                    func(c *mailContent, v json.RawMessage) (err error) { c.replyTo, err = readAddresses(v); return err },
	"isRead":                     func(c *mailContent, v json.RawMessage) error { return into(v, &c.isRead) },
	"flag":                       setFlag,
	"categories":                 func(c *mailContent, v json.RawMessage) error { return into(v, &c.categories) },
	"importance":                 setImportance,
	"inferenceClassification":    func(c *mailContent, v json.RawMessage) error { return into(v, &c.inference) },
	"internetMessageId":          func(c *mailContent, v json.RawMessage) error { return into(v, &c.messageID) },
	"internetMessageHeaders":     setHeaders,
	"isDeliveryReceiptRequested": func(c *mailContent, v json.RawMessage) error { return into(v, &c.receipts[0]) },
	"isReadReceiptRequested":     func(c *mailContent, v json.RawMessage) error { return into(v, &c.receipts[1]) },
	// Stored by createMessage after the rest.
	"singleValueExtendedProperties": setProperties,
	"attachments":                   func(*mailContent, json.RawMessage) error { return nil },
}

func into(v json.RawMessage, to any) error { return json.Unmarshal(v, to) }

// apply writes a message's JSON into its content. Unknown properties are refused,
// as Graph does; annotations and read-only ones are passed over.
func (c *mailContent) apply(in map[string]json.RawMessage) error {
	for _, name := range slices.Sorted(maps.Keys(in)) {
		set, known := setters[name]
		switch {
		case strings.Contains(name, "@") || slices.Contains(readOnly, name):
			continue
		case !known:
			return badRequest("The property '%s' does not exist on type 'microsoft.graph.message'.", name)
		}
		if err := set(c, in[name]); err != nil {
			return asBadProperty(name, err)
		}
	}
	return nil
}

func asBadProperty(name string, err error) error {
	var answer *apiError
	if errors.As(err, &answer) {
		return err
	}
	return badRequest("Cannot read the property '%s': %v", name, err)
}

func setBody(c *mailContent, v json.RawMessage) error {
	in := struct{ ContentType, Content string }{ContentType: "text"}
	if err := into(v, &in); err != nil {
		return err
	}
	c.bodyType, c.body, c.bodySize = strings.ToLower(in.ContentType), in.Content, 0
	if c.bodyType != "html" && c.bodyType != "text" {
		return fmt.Errorf("contentType %q", in.ContentType)
	}
	return nil
}

func setImportance(c *mailContent, v json.RawMessage) error {
	if err := into(v, &c.importance); err != nil {
		return err
	}
	c.importance = strings.ToLower(c.importance)
	if !slices.Contains([]string{"low", "normal", "high"}, c.importance) {
		return fmt.Errorf("unknown importance %q", c.importance)
	}
	return nil
}

type recipient struct {
	EmailAddress *address `json:"emailAddress"`
}

func readAddress(v json.RawMessage) (*address, error) {
	var in *recipient
	if err := into(v, &in); err != nil || in == nil {
		return nil, err
	}
	return in.EmailAddress, nil
}

func readAddresses(v json.RawMessage) ([]address, error) {
	var in []recipient
	if err := into(v, &in); err != nil {
		return nil, err
	}
	list := make([]address, 0, len(in))
	for _, r := range in {
		if r.EmailAddress != nil {
			list = append(list, *r.EmailAddress)
		}
	}
	return list, nil
}

func setFlag(c *mailContent, v json.RawMessage) error {
	var in struct {
		FlagStatus                                    string
		StartDateTime, DueDateTime, CompletedDateTime json.RawMessage
	}
	if err := into(v, &in); err != nil {
		return err
	}
	c.flag = flag{status: in.FlagStatus, start: notNull(in.StartDateTime), due: notNull(in.DueDateTime), completed: notNull(in.CompletedDateTime)}
	if in.FlagStatus == "" {
		c.flag.status = "notFlagged"
	}
	return nil
}

func notNull(v json.RawMessage) string {
	if string(v) == "null" {
		return ""
	}
	return string(v)
}

// setHeaders takes custom headers only: Graph refuses names that do not begin with x-.
func setHeaders(c *mailContent, v json.RawMessage) error {
	var in []struct{ Name, Value string }
	if err := into(v, &in); err != nil {
		return err
	}
	c.headers = nil
	for _, h := range in {
		if !strings.HasPrefix(strings.ToLower(h.Name), "x-") {
			return fail(http.StatusBadRequest, "InvalidInternetMessageHeader", "The internet message header name '%s' should start with 'x-' or 'X-'.", h.Name)
		}
		c.headers = append(c.headers, [2]string{h.Name, h.Value})
	}
	return nil
}

// setProperties stores extended properties and obeys those that say how the
// message looks.
func setProperties(c *mailContent, v json.RawMessage) error {
	in, err := readProperties(v)
	if err != nil {
		return err
	}
	c.properties = maps.Clone(c.properties)
	if c.properties == nil {
		c.properties = map[string]string{}
	}
	for _, p := range in {
		if err := c.obey(p.ID, p.Value); err != nil {
			return err
		}
		c.properties[p.ID] = p.Value
	}
	return nil
}

// extendedProperty is a singleValueLegacyExtendedProperty.
type extendedProperty struct{ ID, Value string }

// propertyID is how an extended property is named: type, then a tag, or a property
// set with a name or an ID (Extended properties overview).
var propertyID = regexp.MustCompile(`^(?i)(String|Integer|Short|Long|Double|Float|Boolean|SystemTime|CLSID|Binary|Currency|ApplicationTime|Object|Null)` +
	` (0x[0-9a-f]{1,8}|\{[0-9a-f-]{36}\} (Name .+|Id 0x[0-9a-f]{1,8}))$`)

func readProperties(raw json.RawMessage) ([]extendedProperty, error) {
	var in []extendedProperty
	if err := into(raw, &in); err != nil {
		return nil, err
	}
	for _, p := range in {
		if !propertyID.MatchString(p.ID) {
			return nil, fail(http.StatusBadRequest, "ErrorInvalidExtendedProperty", "The id '%s' names no extended property.", p.ID)
		}
	}
	return in, nil
}

func (c *mailContent) obey(id, value string) (err error) {
	switch id {
	case propFlags:
		flags, err := strconv.Atoi(value)
		if err != nil {
			return err
		}
		c.isDraft = flags&flagUnsent != 0
	case propSent:
		c.sent, err = time.Parse(time.RFC3339, value)
	case propDelivered:
		c.received, err = time.Parse(time.RFC3339, value)
	}
	return err
}

// createMessage makes a draft, from JSON or from MIME in Base64; extended
// properties can make it look sent or received.
func createMessage(c *call) error {
	if strings.HasPrefix(c.r.Header.Get("Content-Type"), "text/plain") {
		return createFromMIME(c)
	}
	var in map[string]json.RawMessage
	if err := c.decode(&in); err != nil {
		return err
	}
	return c.addMessage(func(b *mailbox) (*mailContent, error) { return b.newDraft(in) })
}

// newDraft reads a message a client wants to create.
func (b *mailbox) newDraft(in map[string]json.RawMessage) (*mailContent, error) {
	now := time.Now().UTC().Truncate(time.Second)
	c := &mailContent{bodyType: "text", importance: "normal", inference: "focused", isRead: true, isDraft: true,
		sent: now, received: now, created: now, flag: flag{status: "notFlagged"}, conversation: mix(uint64(now.UnixNano())) >> 1,
		messageID: fmt.Sprintf("<%s@%s>", newID(), b.t.spec.Domain)}
	if err := c.apply(in); err != nil {
		return nil, err
	}
	if _, given := in["isRead"]; !given && c.properties[propFlags] != "" {
		flags, _ := strconv.Atoi(c.properties[propFlags])
		c.isRead = flags&flagRead != 0
	}
	if c.from == nil && c.isDraft {
		self := b.self
		c.from = &self
	}
	if c.sender == nil {
		c.sender = c.from
	}
	var attachments []json.RawMessage
	if raw, ok := in["attachments"]; ok {
		if err := into(raw, &attachments); err != nil {
			return nil, asBadProperty("attachments", err)
		}
	}
	for _, raw := range attachments {
		a, err := b.readAttachment(raw)
		if err != nil {
			return nil, err
		}
		c.add(a)
	}
	return c, nil
}

func createFromMIME(c *call) error {
	text, err := c.body(maxJSONBody)
	if err != nil {
		return err
	}
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		return fail(http.StatusBadRequest, "ErrorMimeContentInvalidBase64String", "Invalid base64 string for MIME content.")
	}
	return c.addMessage(func(*mailbox) (*mailContent, error) {
		content := parseMail(raw, bytesContent(raw))
		content.isDraft, content.isRead = true, true
		return content, nil
	})
}

func (c *call) addMessage(read func(*mailbox) (*mailContent, error)) error {
	b, err := c.lockMailbox()
	if err != nil {
		return err
	}
	defer b.mu.Unlock()
	if err := b.checkRoom(); err != nil {
		return err
	}
	f := b.wellKnown["drafts"]
	if id := c.param("folder"); id != "" {
		if f, err = b.folder(id); err != nil {
			return err
		}
		if f.search {
			return fail(http.StatusBadRequest, "ErrorInvalidOperation", "A search folder holds no messages.")
		}
	}
	content, err := read(b)
	if err != nil {
		return err
	}
	m := b.addMessage(f, content)
	return c.json(http.StatusCreated, b.render(m, c.mailView()))
}

func patchMessage(c *call) error {
	var in map[string]json.RawMessage
	if err := c.decode(&in); err != nil {
		return err
	}
	return c.withMessage(func(b *mailbox, m *message) error {
		if match := c.r.Header.Get("If-Match"); match != "" && match != "*" && match != `W/"`+changeKey(m.number, m.revision)+`"` {
			return fail(http.StatusPreconditionFailed, "ErrorIrresolvableConflict", "The send or update operation could not be performed because the change key does not match the current change key for the item.")
		}
		if err := b.edit(m, func(content *mailContent) error { return content.apply(in) }); err != nil {
			return err
		}
		return c.json(http.StatusOK, b.render(m, c.mailView()))
	})
}
