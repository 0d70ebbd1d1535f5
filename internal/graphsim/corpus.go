package graphsim

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// corpus is the real files a simulator serves. Only names and sizes are kept of
// files, mails are parsed once.
type corpus struct {
	mails    []*mailContent
	names    []string // of the mails
	contacts []corpusItem
	events   []corpusItem
	files    []corpusFile
}

// corpusFile is a file or folder below the folder given with Options.Files.
type corpusFile struct {
	path   string // slash-separated, relative
	folder bool
	data   fileContent
}

// loadCorpus reads what the options name; empty names give an empty corpus.
func loadCorpus(dir, files string) (*corpus, error) {
	c := &corpus{}
	if dir != "" {
		if err := c.loadMails(filepath.Join(dir, "mail")); err != nil {
			return nil, fmt.Errorf("read corpus: %w", err)
		}
		var err error
		if c.contacts, err = loadCards(filepath.Join(dir, "contacts")); err != nil {
			return nil, fmt.Errorf("read corpus: %w", err)
		}
		if c.events, err = loadCalendars(filepath.Join(dir, "calendar")); err != nil {
			return nil, fmt.Errorf("read corpus: %w", err)
		}
	}
	if inside := filepath.Join(dir, "files"); files == "" && dir != "" && isFolder(inside) {
		files = inside
	}
	if files != "" {
		if err := c.loadFiles(files); err != nil {
			return nil, fmt.Errorf("read files: %w", err)
		}
	}
	return c, nil
}

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

func (c *corpus) loadMails(dir string) error {
	return eachFile(dir, ".eml", func(path string, raw []byte) {
		kept := fileContent{path: path, length: int64(len(raw))}
		m := parseMail(raw, kept)
		if m.subject == "" {
			m.subject = "(" + filepath.Base(path) + ")"
		}
		c.mails = append(c.mails, m)
		c.names = append(c.names, filepath.Base(path))
	})
}

// eachFile reads the files of a folder with an extension, by name. A folder that
// is not there is empty.
func eachFile(dir, ext string, do func(path string, raw []byte)) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() || !strings.EqualFold(filepath.Ext(e.Name()), ext) {
			continue
		}
		path := filepath.Join(dir, e.Name())
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		do(path, raw)
	}
	return nil
}

func (c *corpus) loadFiles(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil || (!d.IsDir() && !d.Type().IsRegular()) {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		c.files = append(c.files, corpusFile{path: filepath.ToSlash(rel), folder: d.IsDir(),
			data: fileContent{path: path, length: info.Size()}})
		return nil
	})
}

// addCorpus puts the real mails into a folder of their own.
func (b *mailbox) addCorpus(c *corpus) {
	if len(c.mails) == 0 {
		return
	}
	b.lastNumber++
	f := &mailFolder{box: b, number: b.lastNumber, name: "Corpus", parent: b.wellKnown["msgfolderroot"]}
	b.folders[f.number] = f
	b.order = append(b.order, f)
	for _, content := range c.mails {
		b.lastNumber++
		m := &message{number: b.lastNumber, own: content, modified: content.created}
		b.messages[m.number] = m
		f.insert(m)
	}
}
