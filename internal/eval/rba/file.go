package rba

import (
	"archive/zip"
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"sync/atomic"
)

// file is the data set on disk: plain, gzipped or in a zip archive, by its first bytes.
type file struct {
	f    *os.File
	size int64
	read atomic.Int64 // bytes of the file, or of the archive's member
	text io.Reader
}

func openFile(name string) (*file, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("opening the RBA data set: %w", err)
	}
	d := &file{f: f}
	if err := d.open(); err != nil {
		return nil, errors.Join(fmt.Errorf("opening the RBA data set %s: %w", name, err), f.Close())
	}
	return d, nil
}

func (d *file) open() error {
	info, err := d.f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return errors.New("is not a regular file")
	}
	d.size = info.Size()
	buffered := bufio.NewReaderSize(&counter{d.f, &d.read}, 1<<20)
	start, err := buffered.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	switch {
	case bytes.HasPrefix(start, []byte("PK\x03\x04")):
		return d.openZip()
	case bytes.HasPrefix(start, []byte("\x1f\x8b")):
		if d.text, err = gzip.NewReader(buffered); err != nil {
			return err
		}
	default:
		d.text = buffered
	}
	return nil
}

// openZip opens the only CSV file of an archive.
func (d *file) openZip() error {
	archive, err := zip.NewReader(d.f, d.size)
	if err != nil {
		return err
	}
	var member *zip.File
	for _, m := range archive.File {
		if !strings.EqualFold(path.Ext(m.Name), ".csv") || strings.HasPrefix(m.Name, "__MACOSX/") {
			continue
		}
		if member != nil {
			return fmt.Errorf("has more than one CSV file: %.100q and %.100q", member.Name, m.Name)
		}
		member = m
	}
	if member == nil {
		return errors.New("has no CSV file in it")
	}
	text, err := member.Open()
	if err != nil {
		return fmt.Errorf("opening %.100q: %w", member.Name, err)
	}
	d.read.Store(0)
	d.size = max(1, int64(min(member.UncompressedSize64, 1<<62)))
	d.text = &counter{text, &d.read}
	return nil
}

// progress is the share of the file that was read.
func (d *file) progress() float64 {
	if d.size == 0 {
		return 1
	}
	return min(1, float64(d.read.Load())/float64(d.size))
}

func (d *file) close() error { return d.f.Close() }

// counter counts what is read.
type counter struct {
	r io.Reader
	n *atomic.Int64
}

func (c *counter) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n.Add(int64(n))
	return n, err
}
