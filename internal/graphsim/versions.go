package graphsim

import (
	"net/http"
	"strconv"
	"time"
)

// fileVersion is what a file was before it was written again.
type fileVersion struct {
	edition  int
	data     content
	sha      string // of data, once computed
	modified time.Time
	editor   string
}

// versionLabel is how Graph numbers versions: "1.0" is the first.
func versionLabel(edition int) string { return strconv.Itoa(edition+1) + ".0" }

// keepVersion puts what the file is now into its history, which keeps the last
// limit versions.
func (i *driveItem) keepVersion(limit int) {
	i.history = append(i.history, fileVersion{edition: i.edition, data: i.data, sha: i.sha, modified: i.modified, editor: i.editor})
	if over := len(i.history) - limit; over > 0 {
		i.history = append([]fileVersion(nil), i.history[over:]...)
	}
}

// version finds an old version by its label; nil for the current one and for one
// that is not kept.
func (i *driveItem) version(label string) *fileVersion {
	for n := range i.history {
		if versionLabel(i.history[n].edition) == label {
			return &i.history[n]
		}
	}
	return nil
}

// fingerprint computes the hash of a version once.
func (v *fileVersion) fingerprint() error {
	if v.sha != "" {
		return nil
	}
	sha, _, err := fingerprint(v.data)
	v.sha = sha
	return err
}

func versionRoutes() []route {
	read := driveRead(1)
	return driveItemRoutes(
		driveRead(2).at("versions", listVersions),
		read.at("versions/{version}", getVersion),
		read.without().at("versions/{version}/content", getVersionContent),
		driveWrite("POST", rolesFilesWrite).at("versions/{version}/restoreVersion", restoreVersion),
	)
}

func listVersions(c *call) error {
	return c.withFile(func(d *drive, item *driveItem) error {
		count := len(item.history) + 1
		return c.skipPage(count, c.pageSize(200, 1000), "$skiptoken", func(n int) []byte {
			if n == 0 {
				return c.renderVersion(d, item.current())
			}
			return c.renderVersion(d, item.history[count-1-n])
		})
	})
}

// current is the file as it is now, seen as a version.
func (i *driveItem) current() fileVersion {
	return fileVersion{edition: i.edition, data: i.data, sha: i.sha, modified: i.modified, editor: i.editor}
}

func (c *call) renderVersion(d *drive, v fileVersion) []byte {
	o := newObject(c.sel)
	o.str("id", versionLabel(v.edition))
	o.instant("lastModifiedDateTime", v.modified)
	o.num("size", v.data.size())
	o.raw("lastModifiedBy", d.identity(v.editor))
	if c.sel.asked("publication") {
		o.raw("publication", publication(v.edition))
	}
	return o.done()
}

func publication(edition int) string {
	return `{"level":"published","versionId":"` + versionLabel(edition) + `"}`
}

func getVersion(c *call) error {
	return c.withFile(func(d *drive, item *driveItem) error {
		v := item.current()
		if label := c.param("version"); label != versionLabel(item.edition) {
			old := item.version(label)
			if old == nil {
				return itemNotFound()
			}
			v = *old
		}
		return c.json(http.StatusOK, c.renderVersion(d, v))
	})
}

// getVersionContent redirects to the bytes of an old version. What Graph says for
// the current one is not documented (driveItemVersion: get contents).
func getVersionContent(c *call) error {
	return c.withFile(func(d *drive, item *driveItem) error {
		label := c.param("version")
		if label == versionLabel(item.edition) {
			if !c.s.o.SharePoint.CurrentVersionContent {
				return fail(http.StatusBadRequest, "invalidRequest", "You cannot get the content of the current version.")
			}
			return c.redirectTo(d, item, "")
		}
		if item.version(label) == nil {
			return itemNotFound()
		}
		return c.redirectTo(d, item, label)
	})
}

// restoreVersion makes an old version the newest one; nothing is lost by it.
func restoreVersion(c *call) error {
	return c.withFile(func(d *drive, item *driveItem) error {
		old := item.version(c.param("version"))
		if old == nil {
			return itemNotFound()
		}
		data := old.data
		d.setContent(item, data)
		item.editor = c.application()
		return c.empty(http.StatusNoContent)
	})
}

// withFile is withItem for requests that make sense of files only.
func (c *call) withFile(do func(*drive, *driveItem) error) error {
	return c.withItem(func(d *drive, item *driveItem) error {
		if !item.isFile() {
			return fail(http.StatusBadRequest, "invalidRequest", "The item is not a file.")
		}
		return do(d, item)
	})
}

// application is the identity set of the calling application, which becomes the
// author of what it writes: Graph has no way to name another.
func (c *call) application() string {
	return `{"application":{"id":` + quoted(c.s.o.ClientID) + `,"displayName":"Application"}}`
}

// identity is an identity set of this drive: a given one, or the owner's.
func (d *drive) identity(set string) string {
	if set != "" {
		return set
	}
	return `{"user":{"displayName":` + quoted(d.site.name) + `}}`
}
