package engine

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"html/template"
	"io"
	"net/http"
	"regexp"
	"strings"

	"github.com/tenantry/tenantry/internal/repository"
	"github.com/tenantry/tenantry/internal/tenantry"
)

// What the workloads call conversations and their parts.
const (
	exportChat   = "chatMessage"
	exportThread = "thread"
	exportPosts  = "posts.json" // part: the posts of a thread
	exportHosted = "hosted/"    // part: a picture in a message, and its ID
)

// graphPost is what a page shows of a message of a channel, or of a post of a group.
type graphPost struct {
	Subject  string `json:"subject"`
	Created  string `json:"createdDateTime"`
	Received string `json:"receivedDateTime"`
	Deleted  string `json:"deletedDateTime"`
	ReplyTo  string `json:"replyToId"`
	From     struct {
		User struct {
			Name string `json:"displayName"`
		} `json:"user"`
		Application struct {
			Name string `json:"displayName"`
		} `json:"application"`
		Address struct {
			Name    string `json:"name"`
			Address string `json:"address"`
		} `json:"emailAddress"`
	} `json:"from"`
	Body struct {
		Type    string `json:"contentType"`
		Content string `json:"content"`
	} `json:"body"`
}

// postPage shows posts to a browser. Their text is what people wrote, so the page may neither run nor load
// anything: pictures are in it.
var postPage = template.Must(template.New("post").Parse(`<!DOCTYPE html>
<html><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{{.Title}}</title></head><body>
<h1>{{.Title}}</h1>
{{range .Posts}}<article><p><b>{{.From}}</b> <time>{{.Time}}</time>{{if .Reply}} (reply){{end}}{{if .Deleted}} (deleted){{end}}</p>
<div>{{.Body}}</div></article>
{{end}}</body></html>
`))

type shownPost struct {
	From, Time     string
	Reply, Deleted bool
	Body           template.HTML
}

// WriteChat writes a message of a channel as an HTML page with the pictures in its text.
func WriteChat(ctx context.Context, w io.Writer, e repository.Entry, raw []byte, open OpenPart) error {
	var p graphPost
	if err := json.Unmarshal(raw, &p); err != nil {
		return tenantry.E(tenantry.Corrupt, "read a stored message", err)
	}
	shown, err := p.shown(ctx, e, open)
	if err != nil {
		return err
	}
	return writePosts(w, e.Name, []shownPost{shown})
}

// WriteThread writes a thread of a group as an HTML page with all its posts.
func WriteThread(ctx context.Context, w io.Writer, e repository.Entry, _ []byte, open OpenPart) error {
	data, ok, err := readPart(ctx, e, exportPosts, open)
	if err != nil {
		return err
	}
	var posts []graphPost
	if ok {
		if err := json.Unmarshal(data, &posts); err != nil {
			return tenantry.E(tenantry.Corrupt, "read the stored posts of a thread", err)
		}
	}
	list := make([]shownPost, len(posts))
	for i := range posts {
		if list[i], err = posts[i].shown(ctx, e, open); err != nil {
			return err
		}
	}
	return writePosts(w, e.Name, list)
}

func writePosts(w io.Writer, title string, posts []shownPost) error {
	return postPage.Execute(w, struct {
		Title string
		Posts []shownPost
	}{title, posts})
}

func (p *graphPost) shown(ctx context.Context, e repository.Entry, open OpenPart) (shownPost, error) {
	s := shownPost{From: p.author(), Time: p.Created, Reply: p.ReplyTo != "", Deleted: p.Deleted != ""}
	if s.Time == "" {
		s.Time = p.Received
	}
	text := p.Body.Content
	if !strings.EqualFold(p.Body.Type, "html") {
		text = "<pre>" + template.HTMLEscapeString(text) + "</pre>"
	}
	text, err := withPictures(ctx, text, e, open)
	s.Body = template.HTML(text) //nolint:gosec // the page's policy keeps it from running or loading anything
	return s, err
}

func (p *graphPost) author() string {
	for _, name := range []string{p.From.User.Name, p.From.Application.Name, p.From.Address.Name, p.From.Address.Address} {
		if name != "" {
			return name
		}
	}
	return "unknown"
}

// hostedAddress is that of a picture in a message, which only a token opens.
var hostedAddress = regexp.MustCompile(`https?://[^"'\s<>]*hostedContents/([^/"'\s<>]+)/\$value`)

// withPictures puts the stored pictures of a text into it.
func withPictures(ctx context.Context, text string, e repository.Entry, open OpenPart) (string, error) {
	var failed error
	text = hostedAddress.ReplaceAllStringFunc(text, func(address string) string {
		id := hostedAddress.FindStringSubmatch(address)[1]
		data, ok, err := readPart(ctx, e, exportHosted+id, open)
		if err != nil {
			failed = err
		}
		if !ok {
			return address
		}
		return "data:" + http.DetectContentType(data) + ";base64," + base64.StdEncoding.EncodeToString(data)
	})
	return text, failed
}
