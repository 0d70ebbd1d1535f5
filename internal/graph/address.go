package graph

import (
	"bytes"

	"github.com/go-json-experiment/json/jsontext"
)

// contentAddress is where a file's content can be read for some minutes, without a token ("driveItem": instance
// annotations). An answer to $select has it only if it was asked for.
const contentAddress = "@microsoft.graph.downloadUrl"

// takeAddresses moves the addresses of contents out of the items, which are kept, into the page, which is not: they
// are credentials, and different each time. Every other byte of an item stays.
func (p *RawPage) takeAddresses() error {
	for i, item := range p.Items {
		if !bytes.Contains(item, []byte(contentAddress)) {
			continue
		}
		rest, id, address, err := withoutAddress(item)
		if err != nil {
			return err
		}
		p.Items[i] = rest
		if id == "" || address == "" {
			continue
		}
		if p.Addresses == nil {
			p.Addresses = make(map[string]string, len(p.Items))
		}
		p.Addresses[id] = address
	}
	return nil
}

// withoutAddress cuts every member named contentAddress out of an object, and returns the value of the last one and of
// "id". What is no object comes back as it is.
func withoutAddress(item jsontext.Value) (rest jsontext.Value, id, address string, err error) {
	d := jsontext.NewDecoder(bytes.NewReader(item), raw...)
	if d.PeekKind() != '{' {
		return item, "", "", nil
	}
	if err := expect(d, '{'); err != nil {
		return nil, "", "", err
	}
	kept := int64(0) // what of item was copied, or cut
	first := true    // no member was copied yet
	for d.PeekKind() != '}' {
		begin := d.InputOffset() // with the comma before the member
		name, err := d.ReadToken()
		if err != nil {
			return nil, "", "", err
		}
		member := name.String()
		value, err := d.ReadValue()
		if err != nil {
			return nil, "", "", err
		}
		switch member {
		case contentAddress:
			address = stringOf(value)
			rest = append(rest, item[kept:begin]...)
			kept = d.InputOffset()
			continue
		case "id":
			id = stringOf(value)
		}
		if first && kept > 0 && begin == kept { // the comma behind what was cut: nothing stands before it any more
			kept += int64(bytes.IndexByte(item[kept:], ',')) + 1
		}
		first = false
	}
	return append(rest, item[kept:]...), id, address, nil
}

// stringOf is the value of a JSON string, or "" of anything else.
func stringOf(value jsontext.Value) string {
	s, err := jsontext.AppendUnquote(nil, value)
	if err != nil {
		return ""
	}
	return string(s)
}
