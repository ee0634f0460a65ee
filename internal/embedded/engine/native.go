package engine

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"time"

	chproto "github.com/ClickHouse/ch-go/proto"
	"github.com/ClickHouse/clickhouse-go/v2/lib/column"
	"github.com/ClickHouse/clickhouse-go/v2/lib/proto"
)

const (
	maxBlockRows    = 1_000_000_000
	maxBlockColumns = 65_536
)

// transcode appends the Native blocks in data, written by the engine for
// revision 0, to out as a client of the given revision expects them: with
// block info and with the custom-serialization byte. It decodes every column,
// so data that ends early or holds a type that the client could not read
// (AggregateFunction) is an error here and not a broken result there.
func transcode(out *chproto.Buffer, data []byte, revision uint64) error {
	reader := chproto.NewReader(bytes.NewReader(data))
	for {
		columns, err := reader.UVarInt()
		if errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		}
		if err == nil {
			err = transcodeBlock(out, reader, columns, revision)
		}
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return fmt.Errorf("transcoding a Native block: %w", err)
		}
	}
}

func transcodeBlock(out *chproto.Buffer, reader *chproto.Reader, columns, revision uint64) error {
	rows, err := reader.UVarInt()
	if err != nil {
		return err
	}
	if columns > maxBlockColumns || rows > maxBlockRows {
		return fmt.Errorf("block of %d columns and %d rows is out of bounds", columns, rows)
	}
	if revision > 0 {
		// Block info: field 1 is_overflows, field 2 bucket_num, 0 ends it.
		out.PutUVarInt(1)
		out.PutBool(false)
		out.PutUVarInt(2)
		out.PutInt32(-1)
		out.PutUVarInt(0)
	}
	out.PutUVarInt(columns)
	out.PutUVarInt(rows)
	server := &column.ServerContext{Revision: revision, Timezone: time.UTC}
	for range columns {
		if err := transcodeColumn(out, reader, int(rows), revision, server); err != nil {
			return err
		}
	}
	return nil
}

func transcodeColumn(out *chproto.Buffer, reader *chproto.Reader, rows int, revision uint64, server *column.ServerContext) error {
	name, err := reader.Str()
	if err != nil {
		return err
	}
	typeName, err := reader.Str()
	if err != nil {
		return err
	}
	col, err := column.Type(typeName).Column(name, server)
	if err != nil {
		return fmt.Errorf("column %q of type %s: %w", name, typeName, err)
	}
	out.PutString(name)
	out.PutString(typeName)
	if revision >= proto.DBMS_MIN_REVISION_WITH_CUSTOM_SERIALIZATION {
		out.PutBool(false)
	}
	if rows == 0 {
		return nil // no data, and no prefix either
	}
	prefixed, hasPrefix := col.(column.CustomSerialization)
	if hasPrefix {
		if err := prefixed.ReadStatePrefix(reader); err != nil {
			return fmt.Errorf("column %q of type %s: %w", name, typeName, err)
		}
	}
	if err := col.Decode(reader, rows); err != nil {
		return fmt.Errorf("column %q of type %s: %w", name, typeName, err)
	}
	if hasPrefix {
		if err := prefixed.WriteStatePrefix(out); err != nil {
			return fmt.Errorf("column %q of type %s: %w", name, typeName, err)
		}
	}
	col.Encode(out)
	return nil
}
