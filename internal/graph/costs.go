package graph

import (
	"github.com/tenantry/tenantry/internal/tenantry"
	"github.com/tenantry/tenantry/internal/throttle"
)

// What requests cost, as Microsoft's "service-specific throttling limits" and
// "avoid getting throttled or blocked in SharePoint Online" price them.
//
//	identity    users/delta, groups/delta, one object, deletedItems   1
//	            organization                                          1
//	            subscribedSkus (3, less 1 for $select)                2
//	SharePoint  one item, delta with a token, a file's content        1
//	            lists, delta without a token, every write             2
//	            permissions, to read or to write                      5
//	Outlook     every request counts itself against its mailbox; writes
//	            their bytes, too
//
// Not documented, and counted so that it can only be too careful: an upload's
// fragment costs like an upload (2), and each GET of a pre-authenticated address like
// a content request (1), whoever told the address. The bytes of files count against
// what the tenant may send and be sent in an hour. Fragments of an attachment count
// against the mailbox like a POST of the same bytes.
const (
	identityObject  = 1
	identityLicense = 2

	oneItem   = 1
	manyItems = 2
	oneWrite  = 2
	sharing   = 5
	covered   = throttle.Covered
)

func (t *Tenant) identity(units int) throttle.Call {
	return throttle.Call{Tenant: t.id, Service: tenantry.Identity, Units: units, Reserve: t.reserve}
}

func (t *Tenant) sharePoint(units int, write bool) throttle.Call {
	return throttle.Call{Tenant: t.id, Service: tenantry.SharePoint, Units: units, Write: write, Reserve: t.reserve}
}

// siteDelta prices a drive or site delta: with a token half of what it costs
// without.
func (t *Tenant) siteDelta(link string) throttle.Call {
	if link == "" {
		return t.sharePoint(manyItems, false)
	}
	return t.sharePoint(oneItem, false)
}

func (t *Tenant) outlook(mailbox string) throttle.Call {
	return throttle.Call{Tenant: t.id, Service: tenantry.Outlook, Mailbox: mailbox, Reserve: t.reserve}
}

func (t *Tenant) outlookWrite(mailbox string, bytes int) throttle.Call {
	c := t.outlook(mailbox)
	c.Write, c.UploadBytes = true, int64(bytes)
	return c
}
