package graph

import (
	"bytes"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tenantry/tenantry/internal/tenantry"
)

// contentAddress is where a file's content can be read for some minutes, without a token ("driveItem": instance
// annotations). An answer to $select has it only if it was asked for.
const contentAddress = "@microsoft.graph.downloadUrl"

// takeAddresses moves the addresses of contents out of the items, which are kept, into the page, which is not: they
// are credentials, and different each time.
func (p *RawPage) takeAddresses() error {
	const op = "read a drive item"
	for i, item := range p.Items {
		if item.Kind() != '{' || !bytes.Contains(item, []byte(contentAddress)) {
			continue
		}
		rest, value, err := cutMember(op, item, contentAddress)
		if err != nil {
			return err
		}
		p.Items[i] = rest
		id, err := idOf(op, rest)
		if err != nil || value.Kind() != '"' {
			continue // whoever reads the item says what is wrong with it
		}
		if p.Addresses == nil {
			p.Addresses = make(map[string]string, len(p.Items))
		}
		address, _ := jsontext.AppendUnquote(nil, value) // what was decoded is well-formed, or no address
		p.Addresses[id] = string(address)
	}
	return nil
}

// cutMember takes all members of a name out of an object: every other byte stays. It returns the last one's value, nil
// if there is none, which shares the memory of the object.
func cutMember(op string, object jsontext.Value, name string) (rest, value jsontext.Value, err error) {
	d := jsontext.NewDecoder(bytes.NewBuffer(object), raw...) // which it reads where it lies
	broken := func(err error) (jsontext.Value, jsontext.Value, error) {
		return nil, nil, tenantry.E(tenantry.Internal, op, err)
	}
	if err := expect(d, '{'); err != nil {
		return broken(err)
	}
	kept := int64(0) // what of the object was copied, or cut
	first := true    // no member has stayed yet
	for d.PeekKind() != '}' {
		begin := d.InputOffset() // with the comma before the member
		key, err := d.ReadToken()
		if err != nil {
			return broken(err)
		}
		cut := key.String() == name
		member, err := d.ReadValue()
		if err != nil {
			return broken(err)
		}
		if cut {
			rest = append(rest, object[kept:begin]...)
			kept = d.InputOffset()
			value = object[kept-int64(len(member)) : kept]
			continue
		}
		if first && kept > 0 && begin == kept { // the comma behind what was cut: nothing stands before it any more
			kept += int64(bytes.IndexByte(object[kept:], ',')) + 1
		}
		first = false
	}
	return append(rest, object[kept:]...), value, nil
}
