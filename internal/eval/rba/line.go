package rba

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

// maxLine bounds a line in bytes; the longest of the data set have about a thousand.
const maxLine = 64 << 10

var (
	errQuote = errors.New("has a quote that is not closed, or text after it")
	errLong  = fmt.Errorf("has more than %d bytes", maxLine)
)

// lines splits comma-separated text (RFC 4180, one record a line) into fields, without allocating.
type lines struct {
	r      *bufio.Reader
	number int // of the line that was read last
	fields [][]byte
	spare  []byte // fields with quotes in them
}

func newLines(r io.Reader) *lines { return &lines{r: bufio.NewReaderSize(r, maxLine)} }

// next reads a line that is not empty. The fields are valid until the next call. With an error come the fields before it; the
// next call reads on after the line.
func (l *lines) next() ([][]byte, error) {
	for {
		line, err := l.r.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			l.number++
			for errors.Is(err, bufio.ErrBufferFull) {
				_, err = l.r.ReadSlice('\n')
			}
			return nil, errLong
		}
		if err != nil && (!errors.Is(err, io.EOF) || len(line) == 0) {
			return nil, err
		}
		l.number++
		line = bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
		if len(line) > 0 {
			return l.split(line)
		}
	}
}

func (l *lines) split(line []byte) ([][]byte, error) {
	l.fields, l.spare = l.fields[:0], l.spare[:0]
	for {
		if len(line) == 0 || line[0] != '"' {
			field, rest, more := bytes.Cut(line, []byte(","))
			l.fields = append(l.fields, field)
			if !more {
				return l.fields, nil
			}
			line = rest
			continue
		}
		field, rest, err := l.quoted(line[1:])
		if err != nil {
			return l.fields, err
		}
		l.fields = append(l.fields, field)
		if len(rest) == 0 {
			return l.fields, nil
		}
		line = rest[1:]
	}
}

// quoted reads a field after its opening quote. The rest begins with a comma or is empty.
func (l *lines) quoted(line []byte) (field, rest []byte, err error) {
	i := bytes.IndexByte(line, '"')
	if i < 0 {
		return nil, nil, errQuote
	}
	if rest = line[i+1:]; len(rest) == 0 || rest[0] == ',' {
		return line[:i], rest, nil
	}
	// Doubled quotes: what was appended to spare earlier stays where it is when spare grows.
	from := len(l.spare)
	for {
		i := bytes.IndexByte(line, '"')
		if i < 0 {
			return nil, nil, errQuote
		}
		l.spare = append(l.spare, line[:i]...)
		line = line[i+1:]
		switch {
		case len(line) == 0 || line[0] == ',':
			return l.spare[from:len(l.spare):len(l.spare)], line, nil
		case line[0] == '"':
			l.spare = append(l.spare, '"')
			line = line[1:]
		default:
			return nil, nil, errQuote
		}
	}
}
