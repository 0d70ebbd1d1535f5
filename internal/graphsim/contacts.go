package graphsim

import (
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// contactSchema is the contact resource type of Graph v1.0.
var contactSchema = newSchema("contact",
	field{name: "id"}, field{name: "changeKey"}, field{name: "createdDateTime"}, field{name: "lastModifiedDateTime"},
	field{name: "parentFolderId"},
	field{name: "categories", form: textsForm, def: "[]"},
	field{name: "birthday", form: instantForm, def: "null"},
	field{name: "fileAs", form: textForm, def: `""`},
	field{name: "displayName", form: textForm, def: `""`},
	field{name: "givenName", form: textForm, def: "null"},
	field{name: "initials", form: textForm, def: "null"},
	field{name: "middleName", form: textForm, def: "null"},
	field{name: "nickName", form: textForm, def: "null"},
	field{name: "surname", form: textForm, def: "null"},
	field{name: "title", form: textForm, def: "null"},
	field{name: "yomiGivenName", form: textForm, def: "null"},
	field{name: "yomiSurname", form: textForm, def: "null"},
	field{name: "yomiCompanyName", form: textForm, def: "null"},
	field{name: "generation", form: textForm, def: "null"},
	field{name: "imAddresses", form: textsForm, def: "[]"},
	field{name: "jobTitle", form: textForm, def: "null"},
	field{name: "companyName", form: textForm, def: "null"},
	field{name: "department", form: textForm, def: "null"},
	field{name: "officeLocation", form: textForm, def: "null"},
	field{name: "profession", form: textForm, def: "null"},
	field{name: "businessHomePage", form: textForm, def: "null"},
	field{name: "assistantName", form: textForm, def: "null"},
	field{name: "manager", form: textForm, def: "null"},
	field{name: "homePhones", form: textsForm, def: "[]"},
	field{name: "mobilePhone", form: textForm, def: "null"},
	field{name: "businessPhones", form: textsForm, def: "[]"},
	field{name: "spouseName", form: textForm, def: "null"},
	field{name: "personalNotes", form: textForm, def: `""`},
	field{name: "children", form: textsForm, def: "[]"},
	field{name: "emailAddresses", form: listOf(addressForm), def: "[]"},
	field{name: "homeAddress", form: postalForm, def: "{}"},
	field{name: "businessAddress", form: postalForm, def: "{}"},
	field{name: "otherAddress", form: postalForm, def: "{}"},
)

// maxAddresses is how many e-mail addresses an Outlook contact has room for.
const maxAddresses = 3

// maxPhoto is the largest photo of a contact.
const maxPhoto = 4 << 20

func contactRoutes() []route {
	const user = "users/{user}/"
	read := func(r route) route { r.service, r.roles = outlook, rolesContacts; return r }
	write := func(r route) route { r.service, r.roles = outlook, rolesContactsWrite; return r }
	folders := pathsTo([]string{user + "contactFolders", user + "contactFolders/{folder}/childFolders"},
		read(route{method: "GET", handle: listContactFolders}), write(route{method: "POST", handle: createContactFolder}))
	folders = append(folders, pathsTo([]string{user + "contactFolders"},
		read(route{method: "GET", pattern: "delta", handle: contactFoldersDelta}),
		read(route{method: "GET", pattern: "{folder}", handle: getContactFolder}),
		write(route{method: "PATCH", pattern: "{folder}", handle: patchContactFolder}),
		write(route{method: "DELETE", pattern: "{folder}", handle: deleteContactFolder}),
		write(route{method: "POST", pattern: "{folder}/permanentDelete", handle: deleteContactFolder}),
		read(route{method: "GET", pattern: "{folder}/contacts/delta", handle: contactsDelta}))...)
	items := pathsTo([]string{user + "contacts", user + "contactFolders/{folder}/contacts"},
		read(route{method: "GET", handle: listContacts}),
		write(route{method: "POST", handle: createContact}),
		read(route{method: "GET", pattern: "{contact}", handle: getContact}),
		write(route{method: "PATCH", pattern: "{contact}", handle: patchContact}),
		write(route{method: "DELETE", pattern: "{contact}", handle: deleteContact}),
		write(route{method: "POST", pattern: "{contact}/permanentDelete", handle: deleteContact}),
		read(route{method: "GET", pattern: "{contact}/photo", handle: getContactPhoto}),
		read(route{method: "GET", pattern: "{contact}/photo/$value", handle: getContactPhotoValue}),
		write(route{method: "PUT", pattern: "{contact}/photo/$value", handle: putContactPhoto}),
		write(route{method: "PATCH", pattern: "{contact}/photo/$value", handle: putContactPhoto}))
	return append(folders, items...)
}

// contactFolder is the folder a request names, the default one if it names none.
func (c *call) contactFolder(b *mailbox) (*shelf, error) {
	id := c.param("folder")
	if id == "" {
		return b.store().contacts, nil
	}
	return b.findShelf(contactFolderKind, id)
}

// withContactFolder calls do with the folder of the request, under the mailbox's lock.
func (c *call) withContactFolder(do func(*mailbox, *shelf) error) error {
	return c.withBox(func(b *mailbox) error {
		f, err := c.contactFolder(b)
		if err != nil {
			return err
		}
		return do(b, f)
	})
}

// withBox calls do with the mailbox of the request, locked.
func (c *call) withBox(do func(*mailbox) error) error {
	b, err := c.lockMailbox()
	if err != nil {
		return err
	}
	defer b.mu.Unlock()
	return do(b)
}

func (b *mailbox) renderContactFolder(s *shelf, sel selection) []byte {
	o := newObject(sel)
	o.str("id", b.shelfID(s))
	parent := b.wellKnown["msgfolderroot"].id()
	if s.parent != nil {
		parent = b.shelfID(s.parent)
	}
	o.str("parentFolderId", parent)
	o.str("displayName", s.name)
	return o.done()
}

// listContactFolders lists what lies under a folder; without one, what lies under
// the default one, which is not in the list unless Options say so: the page says
// the one, its example shows the other (List contactFolders).
func listContactFolders(c *call) error {
	return c.withContactFolder(func(b *mailbox, parent *shelf) error {
		list := b.store().below(contactFolderKind, parent)
		if c.param("folder") == "" && c.s.o.Exchange.ListDefaultContacts {
			list = append([]*shelf{parent}, list...)
		}
		return c.list(listing{count: len(list), usual: folderPageSize, most: 1000, param: "$skip",
			render: func(i int) []byte { return b.renderContactFolder(list[i], c.sel) },
			full:   func(i int) []byte { return b.renderContactFolder(list[i], nil) }})
	})
}

func contactFoldersDelta(c *call) error {
	return c.withBox(func(b *mailbox) error {
		tracks := func(s *shelf) bool { return s.parent != nil || c.s.o.Exchange.ListDefaultContacts }
		return c.shelfDelta(b, contactFolderKind, tracks, b.renderContactFolder)
	})
}

func getContactFolder(c *call) error {
	return c.withContactFolder(func(b *mailbox, f *shelf) error { return c.json(http.StatusOK, b.renderContactFolder(f, c.sel)) })
}

// readName reads the name of a new or renamed folder.
func (c *call) readName(property string) (string, error) {
	var in map[string]json.RawMessage
	if err := c.decode(&in); err != nil {
		return "", err
	}
	var name string
	if raw, ok := in[property]; ok {
		if err := json.Unmarshal(raw, &name); err != nil {
			return "", asBadProperty(property, err)
		}
	}
	if strings.TrimSpace(name) == "" {
		return "", fail(http.StatusBadRequest, "ErrorInvalidRequest", "The %s is missing.", property)
	}
	return name, nil
}

func folderExists() *apiError {
	return fail(http.StatusConflict, "ErrorFolderExists", "A folder with the specified name already exists.")
}

func createContactFolder(c *call) error {
	name, err := c.readName("displayName")
	if err != nil {
		return err
	}
	return c.withContactFolder(func(b *mailbox, parent *shelf) error {
		f, err := b.addContactFolder(parent, name)
		if err != nil {
			return err
		}
		return c.json(http.StatusCreated, b.renderContactFolder(f, nil))
	})
}

func (b *mailbox) addContactFolder(parent *shelf, name string) (*shelf, error) {
	p := b.store()
	if p.named(contactFolderKind, parent, name) != nil {
		return nil, folderExists()
	}
	f := p.putShelf(&shelf{kind: contactFolderKind, name: name, parent: parent})
	p.noteShelf(f)
	return f, nil
}

func patchContactFolder(c *call) error {
	name, err := c.readName("displayName")
	if err != nil {
		return err
	}
	return c.withContactFolder(func(b *mailbox, f *shelf) error {
		p := b.store()
		if f == p.contacts {
			return fail(http.StatusBadRequest, "ErrorInvalidRequest", "The folder cannot be renamed.")
		}
		if other := p.named(contactFolderKind, f.parent, name); other != nil && other != f {
			return folderExists()
		}
		f.name = name
		p.noteShelf(f)
		return c.json(http.StatusOK, b.renderContactFolder(f, nil))
	})
}

func deleteContactFolder(c *call) error {
	return c.withContactFolder(func(b *mailbox, f *shelf) error {
		if f == b.store().contacts {
			return fail(http.StatusForbidden, "ErrorDeleteDistinguishedFolder", "Distinguished folders cannot be deleted.")
		}
		b.dropShelf(f)
		return c.empty(http.StatusNoContent)
	})
}

func (b *mailbox) renderContact(it *pimItem, v pimView) []byte {
	c := b.contentOf(it)
	o := newObject(v.sel)
	b.renderHead(o, it, c, v)
	o.str("parentFolderId", b.shelfID(it.shelf))
	contactSchema.render(o, c.values)
	v.renderProperties(o, c)
	return o.done()
}

func listContacts(c *call) error {
	return c.withContactFolder(func(b *mailbox, f *shelf) error {
		return c.listItems(b, f.items, b.renderContact)
	})
}

// listItems answers with items that pass the request's options, oldest first.
func (c *call) listItems(b *mailbox, items []*pimItem, render func(*pimItem, pimView) []byte) error {
	v, err := c.pimView()
	if err != nil {
		return err
	}
	whole := v
	whole.sel = nil
	return c.list(listing{count: len(items), usual: 10, most: 1000, param: "$skip",
		render: func(i int) []byte { return render(items[i], v) },
		full: func(i int) []byte {
			o := &object{b: render(items[i], whole)}
			o.b = o.b[:len(o.b)-1]
			o.writeProperties(b.contentOf(items[i]).properties)
			return o.done()
		}})
}

// writeProperties writes all extended properties, for filters: Graph shows them only
// one by one.
func (o *object) writeProperties(properties map[string]string) {
	parts := make([]string, 0, len(properties))
	for id, value := range properties {
		parts = append(parts, `{"id":`+quoted(id)+`,"value":`+quoted(value)+`}`)
	}
	o.raw("singleValueExtendedProperties", "["+strings.Join(parts, ",")+"]")
}

func contactsDelta(c *call) error {
	return c.withContactFolder(func(b *mailbox, f *shelf) error {
		v, err := c.pimView()
		if err != nil {
			return err
		}
		return c.pimDelta(b, f, contactKind, v, b.renderContact)
	})
}

// withContact calls do with the contact of the request, under the mailbox's lock.
func (c *call) withContact(do func(*mailbox, *pimItem) error) error {
	return c.withBox(func(b *mailbox) error {
		it, err := b.findItem(contactKind, c.param("contact"))
		if err != nil {
			return err
		}
		if id := c.param("folder"); id != "" && id != b.shelfID(it.shelf) {
			return mailItemNotFound()
		}
		return do(b, it)
	})
}

func (c *call) showContact(status int, b *mailbox, it *pimItem) error {
	v, err := c.pimView()
	if err != nil {
		return err
	}
	return c.json(status, b.renderContact(it, v))
}

func getContact(c *call) error {
	return c.withContact(func(b *mailbox, it *pimItem) error { return c.showContact(http.StatusOK, b, it) })
}

// applyContact writes a client's JSON into a contact.
func applyContact(c *pimContent, in map[string]json.RawMessage) error {
	if err := c.takeProperties(in); err != nil {
		return err
	}
	if err := contactSchema.read(in, c.values); err != nil {
		return err
	}
	var addresses []json.RawMessage
	c.values.into("emailAddresses", &addresses)
	if len(addresses) > maxAddresses {
		return validation("a contact has at most %d e-mail addresses.", maxAddresses)
	}
	return nil
}

// takeProperties stores the extended properties of a client's JSON and takes them
// out of it.
func (c *pimContent) takeProperties(in map[string]json.RawMessage) error {
	raw, ok := in["singleValueExtendedProperties"]
	if !ok {
		return nil
	}
	delete(in, "singleValueExtendedProperties")
	list, err := readProperties(raw)
	if err != nil {
		return asBadProperty("singleValueExtendedProperties", err)
	}
	if c.properties == nil {
		c.properties = map[string]string{}
	}
	for _, p := range list {
		c.properties[p.ID] = p.Value
	}
	return nil
}

// fillContact sets what Exchange derives when a client leaves it out.
func fillContact(v props) {
	if v.text("displayName") == "" {
		name := strings.TrimSpace(v.text("givenName") + " " + v.text("surname"))
		v["displayName"] = quoted(name)
	}
	if _, given := v["fileAs"]; !given {
		file := v.text("displayName")
		if given, family := v.text("givenName"), v.text("surname"); given != "" && family != "" {
			file = family + ", " + given
		}
		v["fileAs"] = quoted(file)
	}
}

func createContact(c *call) error {
	var in map[string]json.RawMessage
	if err := c.decode(&in); err != nil {
		return err
	}
	return c.withContactFolder(func(b *mailbox, f *shelf) error {
		if err := b.checkRoom(); err != nil {
			return err
		}
		made := &pimContent{values: props{}, created: time.Now().UTC().Truncate(time.Second)}
		if err := applyContact(made, in); err != nil {
			return err
		}
		fillContact(made.values)
		return c.showContact(http.StatusCreated, b, b.store().addItem(contactKind, f, made))
	})
}

func patchContact(c *call) error {
	var in map[string]json.RawMessage
	if err := c.decode(&in); err != nil {
		return err
	}
	return c.withContact(func(b *mailbox, it *pimItem) error {
		if err := c.checkMatch(it); err != nil {
			return err
		}
		if err := b.editItem(it, func(content *pimContent) error { return applyContact(content, in) }); err != nil {
			return err
		}
		return c.showContact(http.StatusOK, b, it)
	})
}

func deleteContact(c *call) error {
	return c.withContact(func(b *mailbox, it *pimItem) error {
		b.dropItem(it)
		return c.empty(http.StatusNoContent)
	})
}

func noPhoto() *apiError {
	return fail(http.StatusNotFound, "ErrorItemNotFound", "The contact has no photo.")
}

func getContactPhoto(c *call) error {
	return c.withContact(func(b *mailbox, it *pimItem) error {
		if b.contentOf(it).photo == nil {
			return noPhoto()
		}
		o := newObject(c.sel)
		o.str("@odata.mediaContentType", b.contentOf(it).photoType)
		o.str("@odata.mediaEtag", `W/"`+changeKey(it.number, it.revision)+`"`)
		o.str("id", "default")
		o.num("height", 96)
		o.num("width", 96)
		return c.json(http.StatusOK, o.done())
	})
}

func getContactPhotoValue(c *call) error {
	var content *pimContent
	err := c.withContact(func(b *mailbox, it *pimItem) error {
		content = b.contentOf(it)
		return nil
	})
	switch {
	case err != nil:
		return err
	case content.photo == nil:
		return noPhoto()
	}
	return c.stream(content.photoType, content.photo)
}

// stream answers with bytes.
func (c *call) stream(contentType string, data content) error {
	rd, err := data.open()
	if err != nil {
		return err
	}
	defer rd.Close()
	setDefault(&contentType, "application/octet-stream")
	c.w.Header().Set("Content-Type", contentType)
	c.w.Header().Set("Content-Length", strconv.FormatInt(data.size(), 10))
	_, _ = io.Copy(c.w, rd) // the client has gone
	return nil
}

func putContactPhoto(c *call) error {
	data, err := c.body(maxPhoto)
	if err != nil {
		return err
	}
	kind := c.r.Header.Get("Content-Type")
	if len(data) == 0 || !strings.HasPrefix(kind, "image/") {
		return fail(http.StatusBadRequest, "ErrorInvalidImage", "The photo is no image.")
	}
	kept, err := c.s.keep(data)
	if err != nil {
		return err
	}
	return c.withContact(func(b *mailbox, it *pimItem) error {
		err := b.editItem(it, func(content *pimContent) error {
			content.photo, content.photoType = kept, kind
			return nil
		})
		if err != nil {
			return err
		}
		return c.empty(http.StatusOK)
	})
}
