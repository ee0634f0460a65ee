package engine

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	chproto "github.com/ClickHouse/ch-go/proto"
	"github.com/ClickHouse/clickhouse-go/v2/lib/column"
	"github.com/ClickHouse/clickhouse-go/v2/lib/proto"
)

// nativeBuffer is at least what ch-go would buffer: see nativeReader.
const nativeBuffer = 256 << 10

// A nativeReader decodes one chunk of revision-0 Native blocks and knows how
// far it has come.
//
// The rows of a column are the same bytes at every revision; what differs is
// around them. So columns are decoded only to find where each ends, and to
// refuse what a client could not read, and their bytes are then copied.
// Encoding them again would lose the types whose Encode is empty in
// clickhouse-go (Interval, Nothing).
type nativeReader struct {
	data   []byte
	source *bytes.Reader
	// The buffer is ours and large enough for ch-go to adopt it in place of
	// one of its own, which is what makes position exact.
	buffer  *bufio.Reader
	decoder *chproto.Reader
}

func newNativeReader(data []byte) *nativeReader {
	source := bytes.NewReader(data)
	buffer := bufio.NewReaderSize(source, nativeBuffer)
	return &nativeReader{data, source, buffer, chproto.NewReader(buffer)}
}

func (r *nativeReader) position() int { return len(r.data) - r.source.Len() - r.buffer.Buffered() }

// uvarint reads a number and makes sure that position can be trusted.
func (r *nativeReader) uvarint() (uint64, error) {
	start := r.position()
	v, err := r.decoder.UVarInt()
	if err != nil {
		return 0, err
	}
	if _, n := binary.Uvarint(r.data[start:]); r.position() != start+n {
		return 0, errors.New("ch-go buffers on its own: the engine's results cannot be measured")
	}
	return v, nil
}

// transcode appends the Native blocks in data, as the engine writes them, to
// out as a client of the given revision expects them: with block info and the
// custom-serialization byte. Data that ends early, or that holds a type the
// client could not decode (AggregateFunction), is an error here rather than a
// broken result there.
func transcode(out *chproto.Buffer, data []byte, revision uint64) error {
	reader := newNativeReader(data)
	for reader.position() < len(data) {
		if err := reader.block(out, revision); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return fmt.Errorf("transcoding a Native block: %w", err)
		}
	}
	return nil
}

func (r *nativeReader) block(out *chproto.Buffer, revision uint64) error {
	columns, err := r.uvarint()
	if err != nil {
		return err
	}
	rows, err := r.uvarint()
	if err != nil {
		return err
	}
	// A column takes two bytes at the least, and a row one.
	if size := uint64(len(r.data)); columns > size || columns > 0 && rows > size {
		return fmt.Errorf("block of %d columns and %d rows is out of bounds", columns, rows)
	}
	// Block info: field 1 is_overflows, field 2 bucket_num, 0 ends it.
	out.PutUVarInt(1)
	out.PutBool(false)
	out.PutUVarInt(2)
	out.PutInt32(-1)
	out.PutUVarInt(0)
	out.PutUVarInt(columns)
	out.PutUVarInt(rows)
	server := &column.ServerContext{Revision: revision, Timezone: time.UTC}
	for range columns {
		if err := r.column(out, int(rows), revision, server); err != nil {
			return err
		}
	}
	return nil
}

func (r *nativeReader) column(out *chproto.Buffer, rows int, revision uint64, server *column.ServerContext) error {
	name, err := r.decoder.Str()
	if err != nil {
		return err
	}
	typeName, err := r.decoder.Str()
	if err != nil {
		return err
	}
	out.PutString(name)
	out.PutString(typeName)
	if revision >= proto.DBMS_MIN_REVISION_WITH_CUSTOM_SERIALIZATION {
		out.PutBool(false)
	}
	start := r.position()
	if err := r.skipRows(name, typeName, rows, server); err != nil {
		return fmt.Errorf("column %q of type %s: %w", name, typeName, err)
	}
	out.PutRaw(r.data[start:r.position()])
	return nil
}

func (r *nativeReader) skipRows(name, typeName string, rows int, server *column.ServerContext) error {
	col, err := column.Type(typeName).Column(name, server)
	if err != nil || rows == 0 {
		return err
	}
	if prefixed, ok := col.(column.CustomSerialization); ok {
		if err := prefixed.ReadStatePrefix(r.decoder); err != nil {
			return err
		}
	}
	return col.Decode(r.decoder, rows)
}
