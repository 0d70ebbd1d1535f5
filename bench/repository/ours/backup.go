package main

import (
	"bufio"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"github.com/tenantry/tenantry/internal/repository"
)

// checkpointBytes is when the engine commits a checkpoint.
const checkpointBytes = 32 << 20

// full backs up a tree that nothing is known of.
func (p program) full(ctx context.Context, root string) error {
	return p.write(ctx, func(w *repository.Writer) error {
		return walk(root, func(name string, info fs.FileInfo) error { return put(ctx, w, root, name, info) })
	})
}

// told backs up what a list names.
func (p program) told(ctx context.Context, root, list string) error {
	names, err := os.Open(list)
	if err != nil {
		return err
	}
	defer names.Close()
	return p.write(ctx, func(w *repository.Writer) error {
		lines := bufio.NewScanner(names)
		for lines.Scan() {
			info, err := os.Lstat(filepath.Join(root, lines.Text()))
			if err != nil {
				return err
			}
			if err := put(ctx, w, root, lines.Text(), info); err != nil {
				return err
			}
		}
		return lines.Err()
	})
}

// walked finds out itself what has changed: it holds size and time of every file against the index.
func (p program) walked(ctx context.Context, root string) error {
	return p.write(ctx, func(w *repository.Writer) error {
		known := map[string]string{}
		for e, err := range w.Entries(ctx) {
			if err != nil {
				return err
			}
			known[e.ID] = e.ETag
		}
		err := walk(root, func(name string, info fs.FileInfo) error {
			version := known[name]
			delete(known, name)
			if version == stamp(info) {
				return nil
			}
			return put(ctx, w, root, name, info)
		})
		if err != nil {
			return err
		}
		for gone := range known {
			if err := w.Remove(ctx, gone); err != nil {
				return err
			}
		}
		return nil
	})
}

// walk shows all files of a tree.
func walk(root string, file func(name string, info fs.FileInfo) error) error {
	return filepath.WalkDir(root, func(at string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, at)
		if err != nil {
			return err
		}
		return file(filepath.ToSlash(name), info)
	})
}

func stamp(info fs.FileInfo) string {
	return fmt.Sprint(info.Size(), "-", info.ModTime().UnixNano())
}

// put stores a file: mails as the engine stores what Graph shows of an item, the rest as content.
func put(ctx context.Context, w *repository.Writer, root, name string, info fs.FileInfo) error {
	e := repository.Entry{
		ID: name, Parent: path.Dir(name), Kind: "file", Name: path.Base(name), ETag: stamp(info),
		Modified: info.ModTime(), Size: info.Size(), Generation: 1,
	}
	var err error
	if path.Ext(name) == ".json" {
		e.Payload, err = putMail(ctx, w, filepath.Join(root, name))
	} else {
		var part repository.Part
		part, err = putContent(ctx, w, filepath.Join(root, name))
		e.Parts = []repository.Part{part}
	}
	if err != nil {
		return err
	}
	if err := w.Put(ctx, e); err != nil {
		return err
	}
	if w.Pending() >= checkpointBytes {
		return w.Checkpoint(ctx)
	}
	return nil
}

func putMail(ctx context.Context, w *repository.Writer, file string) (repository.Ref, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return repository.Ref{}, err
	}
	return w.PutPayload(ctx, data)
}

func putContent(ctx context.Context, w *repository.Writer, file string) (repository.Part, error) {
	f, err := os.Open(file)
	if err != nil {
		return repository.Part{}, err
	}
	defer f.Close()
	part, err := w.PutContent(ctx, f)
	part.Name = "content"
	return part, err
}
