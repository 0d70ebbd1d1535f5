package graphsim

import (
	"bytes"
	"strings"
	"testing"
)

// Messages in every language and in its older charset say, read from their MIME form, what
// they say as JSON: subject and body to the byte.
func TestCharsetsCarryTheirLanguages(t *testing.T) {
	s, err := Start(Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	tenant := s.AddTenant(TenantSpec{Users: 1, MailsPerUser: 150, Languages: maxLanguages, Charsets: 80})
	seen := map[string]int{}
	err = tenant.withMailbox(tenant.Users()[0].ID, func(b *mailbox) error {
		for _, m := range b.messages {
			c := b.content(m)
			var raw bytes.Buffer
			if err := writeMIME(&raw, c); err != nil {
				return err
			}
			read := parseMail(raw.Bytes(), nil)
			if read.subject != c.subject || read.text() != c.text() || read.bodyType != c.bodyType {
				t.Errorf("%s: subject %q read as %q, body of %d bytes as %d", c.charset, c.subject, read.subject, len(c.text()), len(read.text()))
			}
			charset := c.charset
			if charset == "" {
				charset = "utf-8"
			}
			if !bytes.Contains(raw.Bytes(), []byte("charset="+charset)) || !strings.Contains(c.text(), `lang="`+languages[c.language].tag) {
				t.Errorf("%s is not in %s", languages[c.language].tag, charset)
			}
			seen[charset]++
		}
		return nil
	})
	if err != nil || len(seen) != maxLanguages+1 {
		t.Errorf("charsets %v: %v", seen, err)
	}
	for _, l := range languages {
		c := mailContent{charset: l.charset}
		if got, _ := c.encoded(strings.Join(l.words, " ")); got != l.charset {
			t.Errorf("%s has not all words of %s", l.charset, l.tag)
		}
	}
}
