package api

import (
	"io"
	"reflect"
	"strconv"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/go-json-experiment/json/jsontext"
)

// keptAnswer bounds the buffers of answers that are kept, in bytes: a page of 500 resources is half as large.
const keptAnswer = 512 << 10

// resourceFields is how many fields appendResource writes. While Resource has one that it does not know, encoding/json
// writes its pages.
const resourceFields = 14

var resourcesKnown = reflect.TypeFor[Resource]().NumField() == resourceFields

var answers = sync.Pool{New: func() any { return new([]byte) }}

// marshal writes an answer. Pages of resources, the one listing that programs read by the hundred thousand, are
// written without reflection, which was a fifth of a request's CPU; TestPagesOfResources holds them to encoding/json.
func marshal(w io.Writer, v any) error {
	page, ok := v.(Page[Resource])
	if !ok || !resourcesKnown {
		return huma.DefaultJSONFormat.Marshal(w, v)
	}
	buffer, _ := answers.Get().(*[]byte)
	defer func() {
		if cap(*buffer) <= keptAnswer {
			answers.Put(buffer)
		}
	}()
	*buffer = append(appendResources((*buffer)[:0], page), '\n')
	_, err := w.Write(*buffer)
	return err
}

func appendResources(b []byte, page Page[Resource]) []byte {
	if page.Items == nil {
		b = append(b, `{"items":null`...)
	} else {
		b = append(b, `{"items":[`...)
		for i := range page.Items {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendResource(b, &page.Items[i])
		}
		b = append(b, ']')
	}
	return append(appendText(b, `,"next":`, page.Next), '}')
}

func appendResource(b []byte, r *Resource) []byte {
	b = quoted(append(b, `{"id":`...), r.ID)
	b = quoted(append(b, `,"kind":`...), r.Kind)
	b = quoted(append(b, `,"object_id":`...), r.ObjectID)
	b = quoted(append(b, `,"name":`...), r.Name)
	b = quoted(append(b, `,"address":`...), r.Address)
	b = appendText(b, `,"mailbox_kind":`, r.MailboxKind)
	b = appendText(b, `,"subkind":`, r.Subkind)
	if r.Dynamic {
		b = append(b, `,"dynamic_members":true`...)
	}
	b = appendText(b, `,"site":`, r.Site)
	b = strconv.AppendBool(append(b, `,"licensed":`...), r.Licensed)
	b = quoted(append(b, `,"state":`...), r.State)
	if r.StateAt != nil {
		b = r.StateAt.AppendFormat(append(b, `,"state_at":"`...), time.RFC3339Nano)
		b = append(b, '"')
	}
	b = append(b, `,"workloads":`...)
	if r.Workloads == nil {
		b = append(b, "null"...)
	} else {
		b = append(b, '[')
		for i, w := range r.Workloads {
			if i > 0 {
				b = append(b, ',')
			}
			b = quoted(b, w)
		}
		b = append(b, ']')
	}
	return append(appendText(b, `,"standing":`, r.Standing), '}')
}

// appendText appends a member that is absent where its text is empty.
func appendText[T ~string](b []byte, name string, text T) []byte {
	if text == "" {
		return b
	}
	return quoted(append(b, name...), text)
}

// quoted appends a JSON string; bytes that are no UTF-8 become U+FFFD.
func quoted[T ~string](b []byte, text T) []byte {
	b, _ = jsontext.AppendQuote(b, string(text)) // its error says that some were none
	return b
}
