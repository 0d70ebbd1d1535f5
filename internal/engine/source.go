package engine

import (
	"context"
	"io"
	"time"

	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// RootCollection is the collection every read starts with: a mailbox's folders, a drive's items.
const RootCollection = ""

// The kinds of entry that the engine knows. Every other kind is an item that holds no others.
const (
	// KindFolder is a container that a restore makes before what it holds.
	KindFolder = "folder"
	// KindPackage is a container that is not a folder to its users: a OneNote notebook on a drive.
	KindPackage = "package"
)

// Source reads the changes of one workload from Microsoft 365. Page is called from one goroutine at
// a time (but see Parallel), parts of a page from up to Limits.Concurrency. Errors carry kinds: Resync when a link is
// no longer valid, NotFound for a collection other than the root that is gone, Denied, Absent and Invalid for
// one that is refused: what is stored of it stays, its entry says why. Every other kind ends the slice.
type Source interface {
	// Page reads one page of a collection; link "" starts from the beginning.
	Page(ctx context.Context, collection, link string) (Page, error)
	// Tree names the collection that lists an item by the item's ID: one that lists all that lies below it,
	// at any depth, and that nothing enters or leaves (a drive). A removal in it is absolute. ok is false where
	// collections list what names them as its parent, and the folders that they showed (mail): there items
	// move, and a removal counts only for the collection in which the item lies. A tree's ID is of its tree.
	Tree(id string) (collection string, ok bool)
}

// Rereader is a Source that can read the parts of an item again though nobody told of a change. With
// it, a part that could not be read is tried again in every run, and not only when its item changes; and
// one that answers Transient, or is throttled by the service, is tried again later in the run, while the
// others go on.
type Rereader interface {
	// Reread returns what Item.Parts was of the entry's item; nil if it cannot. Called from several goroutines.
	Reread(e repository.Entry) func(ctx context.Context) ([]ItemPart, error)
}

// Page is one page of changes, in the state in which the source last showed each item: an ID
// stands at most once, in Items or in Removed. Items are the reader's, who clears what is done with.
type Page struct {
	Items   []Item
	Removed []string // IDs
	Next    string   // link of the next page, or the delta link when Done
	Done    bool
	// Listed says that this is no delta but a page of the whole list: what the list does not show to its
	// end is gone. It begins with link "" or what Next was when it was Done the last time, and begins
	// anew when it was interrupted.
	Listed bool
}

// Item is one added or changed item.
type Item struct {
	ID     string // immutable
	Parent string // ID of the containing folder, "" for a root
	Kind   string
	Name   string // what a person recognises
	// ETag is the item's version, metadata and content. Empty: unknown, always stored anew.
	ETag     string
	Modified time.Time
	Size     int64     // bytes at the source
	Holds    int64     // items that lie in it, for a container that says; they need not be there
	From     string    // who sent it, for searching; "" if nobody did
	To       string    // who received it, for searching
	Date     time.Time // when it was received, for searching
	// Collection is the item's own ID if its content is read as a collection of that name, else "".
	Collection string
	// Apart: items move between the collections that lie under this one, but neither in nor out. Such a
	// part of the source is read by itself, and one that is refused leaves the others alone.
	Apart bool
	// First: this collection is read before the others, because what it holds matters most.
	First bool
	// Load reads the whole item where the page shows no more than its ID, Parent and ETag. Called, from
	// several goroutines, only if that version is not stored. NotFound: it is gone again.
	Load func(ctx context.Context) (Item, error)
	// Raw is the payload, byte-identical as the source sent it.
	Raw []byte
	// Content identifies the separate content where the source knows it without reading (a hash):
	// while it stays the same, a new ETag does not fetch the parts again. It may have several lines, each the
	// version of one part. Empty: unknown.
	Content string
	// Problem says why the item cannot be saved; its last good version is kept.
	Problem string
	// ProblemKind is the class of the problem; empty: Poison.
	ProblemKind tenantry.Kind
	// Parts lists separate content. nil: none. Called only if the content differs from what is stored.
	Parts func(ctx context.Context) ([]ItemPart, error)
}

// ItemPart is separate content of an item, opened when it is stored.
type ItemPart struct {
	Name string // unique within the item, stable between runs
	Size int64  // bytes, where known
	// Version changes whenever the content does. When every part of an item has one, and none
	// differs from what is stored, nothing is fetched; nor is a part whose version is a line of the
	// Content with which the item is stored. Empty: unknown.
	Version string
	// Fixed: what is stored under this name never changes, and is not fetched again.
	Fixed bool
	// Open streams the content. An error of the kinds Poison, Denied, NotFound, Absent and Invalid,
	// here or while reading, is recorded and the item goes on without this part; Internal and Conflict
	// (it is not as listed) too, after a second attempt. Transient is tried a second time, too, and then
	// sets the item aside, if the source is a Rereader and can read it again; else it ends the slice.
	// Throttled ends the slice; it counts against the item if its chain has a method Answered() int (the
	// HTTP status), which tells an answer of the service from a refusal before the request was made.
	Open func(ctx context.Context) (io.ReadCloser, error)
	// Resume is Open where the first size bytes are stored already: it takes them from stored, and asks for the others
	// alone. Errors are those of Open. Called only if Same is not empty and what it was when those bytes were stored.
	Resume func(ctx context.Context, stored io.Reader, size int64) (io.ReadCloser, error)
	// Same identifies the content for Resume. nil and "": a part that is interrupted is read anew.
	Same string
}

// Target writes items back to Microsoft 365. Folder is called from one goroutine at a time, Item
// from up to Limits.Concurrency. An error of the kinds Poison, Denied, NotFound, Absent, Invalid,
// Conflict, Corrupt and Internal is recorded for its item; every other kind ends the slice.
type Target interface {
	// Folder finds or makes the folder that stands for e under parent ("" = the target's root) and returns its ID.
	Folder(ctx context.Context, parent string, e repository.Entry, raw []byte) (string, error)
	// Item writes e into folder unless it is there already (then Existed). It may run twice: no duplicates.
	Item(ctx context.Context, folder string, e repository.Entry, raw []byte, open OpenPart) (Written, error)
}

// Finisher is a Target that is told when all that a folder holds was written into it. An error of one of the
// kinds that Target names is recorded for the folder. Finish may run again for a folder that was finished.
type Finisher interface {
	Finish(ctx context.Context, id string, e repository.Entry, raw []byte, open OpenPart) error
}

// Beginner is a Target that is told of a folder, with what is stored of it beside its payload, before anything is
// written into it. An error of one of the kinds that Target names is recorded for the folder, which is filled all
// the same. Begin may run again for a folder that was begun.
type Beginner interface {
	Begin(ctx context.Context, id string, e repository.Entry, open OpenPart) error
}

// Ender is a Target that is told when everything was written. It names what it finds wrong with single entries then, by
// their IDs; an error that naming returns has it end. An error of one of the kinds that Target names is recorded as a
// problem of its own. End may run again.
type Ender interface {
	End(ctx context.Context, lacks Lacks) error
}

// Noter is a Target that says what holds for much of what it was given, and is no fault of single entries: asked once, at the
// end of a slice that has come to the end of the restore.
type Noter interface {
	// Notes are sentences for people; "" is none.
	Notes() string
}

// Lacks names an entry that was restored, but not whole, and why. An error ends the slice.
type Lacks = func(ctx context.Context, id string, why error) error

// OpenPart streams the stored bytes of one part of the item at hand, from its byte from on. A part of more than 8 MiB
// breaks off, with an error that the target passes on, when the slice has to end: the item is written again in the next.
type OpenPart = func(ctx context.Context, p repository.Part, from int64) (io.ReadCloser, error)

// Written says what became of a restored item.
type Written struct {
	ID      string
	Existed bool
	Left    bool // it is nothing that the target takes: it does not count
}
