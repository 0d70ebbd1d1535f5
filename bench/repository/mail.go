package main

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
)

// wording makes mails as Graph shows them: JSON with long IDs, the HTML of a mail program
// around the text, and words as often as they are in a language (Zipf).
type wording struct{ words []string }

const (
	vocabulary = 6000
	people     = 400
)

func newWording() wording {
	rnd := rand.New(rand.NewPCG(seed, 1<<35))
	onsets := []string{"b", "c", "d", "f", "g", "h", "l", "m", "n", "p", "r", "s", "t", "v", "w", "st", "tr", "pr", "ch", "th"}
	vowels := []string{"a", "e", "i", "o", "u", "ea", "ou", "ai"}
	ends := []string{"", "", "n", "r", "s", "t", "l", "ng", "nd"}
	w := wording{words: make([]string, vocabulary)}
	for i := range w.words {
		var word string
		for range 1 + rnd.IntN(3) {
			word += onsets[rnd.IntN(len(onsets))] + vowels[rnd.IntN(len(vowels))] + ends[rnd.IntN(len(ends))]
		}
		w.words[i] = word
	}
	return w
}

const style = `<html><head>\r\n<meta http-equiv=\"Content-Type\" content=\"text/html; charset=utf-8\"><style type=\"text/css\" style=\"display:none\">\r\n<!--\r\np\r\n\t{margin-top:0;\r\n\tmargin-bottom:0}\r\n-->\r\n</style></head><body dir=\"ltr\">\r\n`

// mail is mail number i in a version, of exactly mailSize bytes.
func (w wording) mail(i, version int) []byte {
	rnd := rand.New(rand.NewPCG(seed+uint64(version)<<40, uint64(i)))
	zipf := rand.NewZipf(rnd, 1.2, 8, vocabulary-1)
	token := func(n int) string {
		raw := make([]byte, n)
		for j := range raw {
			raw[j] = byte(rnd.Uint32())
		}
		return base64.URLEncoding.EncodeToString(raw)
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, `{"@odata.etag":"W/\"CQAAABYAAAC%s\"","id":"AAMkAGI2TG93AAA=%s","receivedDateTime":"2026-%02d-%02dT%02d:%02d:%02dZ",`,
		token(24), token(48), 1+i%12, 1+rnd.IntN(28), rnd.IntN(24), rnd.IntN(60), rnd.IntN(60))
	fmt.Fprintf(&b, `"internetMessageId":"<%s@contoso.example>","conversationId":"AAQkAGI2TG93AAA=%s","subject":"%s","importance":"normal","isRead":true,`,
		token(30), token(24), w.text(rnd, zipf, 5))
	fmt.Fprintf(&b, `"from":{"emailAddress":{"name":"Person %d","address":"person%[1]d@contoso.example"}},"toRecipients":[`, rnd.IntN(people))
	for j := range 1 + rnd.IntN(5) {
		if j > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"emailAddress":{"name":"Person %d","address":"person%[1]d@contoso.example"}}`, rnd.IntN(people))
	}
	b.WriteString(`],"body":{"contentType":"html","content":"` + style)
	const end = `</body></html>"}}`
	for b.Len() < mailSize {
		fmt.Fprintf(&b, `<div class=\"elementToProof\" style=\"font-family:Aptos,Calibri,Helvetica,sans-serif; font-size:12pt; color:rgb(0,0,0)\">%s.</div>\r\n`,
			w.text(rnd, zipf, 20+rnd.IntN(60)))
	}
	b.Truncate(mailSize - len(end))
	b.WriteString(end)
	return b.Bytes()
}

// text is so many words.
func (w wording) text(rnd *rand.Rand, zipf *rand.Zipf, n int) string {
	var b bytes.Buffer
	for j := range n {
		if j > 0 {
			b.WriteByte(' ')
		}
		if rnd.IntN(25) == 0 {
			fmt.Fprint(&b, rnd.IntN(10_000))
			continue
		}
		b.WriteString(w.words[zipf.Uint64()])
	}
	return b.String()
}
