package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/zeebo/blake3"

	"github.com/tenantry/tenantry/internal/repository"
)

// sum is what a file has to come back as.
type sum struct {
	size int64
	hash []byte
}

// restore reads everything of the newest snapshot as engine.Restore does, into a sink that
// holds it against the sums of what was backed up.
func (p program) restore(ctx context.Context, list string) error {
	want, err := readSums(list)
	if err != nil {
		return err
	}
	head, err := p.Head(ctx, series)
	if err != nil {
		return err
	}
	if len(head.Live) == 0 {
		return fmt.Errorf("there is no snapshot")
	}
	rd, err := p.OpenSnapshot(ctx, series, head.Live[0].Seq)
	if err != nil {
		return err
	}
	defer rd.Close()
	var entries []repository.Entry
	for e, err := range rd.Entries(ctx) {
		if err != nil {
			return err
		}
		entries = append(entries, e)
	}
	slices.SortFunc(entries, repository.CompareStored)
	total := int64(0)
	for _, e := range entries {
		n, err := check(ctx, rd, e, want)
		if err != nil {
			return err
		}
		delete(want, e.ID)
		total += n
	}
	if len(want) > 0 {
		return fmt.Errorf("%d files did not come back", len(want))
	}
	fmt.Fprintf(p.out, "restored_bytes %d\n", total)
	return nil
}

// check reads one entry and returns its size.
func check(ctx context.Context, rd *repository.Reader, e repository.Entry, want map[string]sum) (int64, error) {
	hash := blake3.New()
	size := int64(0)
	if len(e.Parts) == 0 {
		data, err := rd.Payload(ctx, e)
		if err != nil {
			return 0, err
		}
		_, _ = hash.Write(data)
		size = int64(len(data))
	}
	for _, part := range e.Parts {
		stream, err := rd.Open(ctx, e, part)
		if err != nil {
			return 0, err
		}
		n, err := io.Copy(hash, stream)
		if err := stream.Close(); err != nil {
			return 0, err
		}
		if err != nil {
			return 0, err
		}
		size += n
	}
	if w, ok := want[e.ID]; !ok || w.size != size || !bytes.Equal(hash.Sum(nil), w.hash) {
		return 0, fmt.Errorf("%s came back different: %d bytes of %d", e.ID, size, w.size)
	}
	return size, nil
}

func readSums(list string) (map[string]sum, error) {
	f, err := os.Open(list)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	sums := map[string]sum{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) != 3 {
			return nil, fmt.Errorf("line %q is not a path, a size and a hash", lines.Text())
		}
		size, sizeErr := strconv.ParseInt(fields[1], 10, 64)
		hash, hashErr := hex.DecodeString(fields[2])
		if err := errors.Join(sizeErr, hashErr); err != nil {
			return nil, fmt.Errorf("line %q: %w", lines.Text(), err)
		}
		sums[fields[0]] = sum{size, hash}
	}
	return sums, lines.Err()
}
