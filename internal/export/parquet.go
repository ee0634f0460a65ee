package export

import (
	"bytes"
	"io"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"
)

// groupRows is how many rows, and groupBytes how many bytes of records, a row group has at most. A few times that is held.
const (
	groupRows  = 10_000
	groupBytes = 8 << 20
)

// parquetEncoder writes Parquet, with the record as a whole in the last column.
type parquetEncoder[R, T any] struct {
	w     *parquet.GenericWriter[T]
	row   func(*R, []byte) T
	rows  int
	bytes int
}

func newParquet[R, T any](w io.Writer, row func(*R, []byte) T) *parquetEncoder[R, T] {
	return &parquetEncoder[R, T]{row: row, w: parquet.NewGenericWriter[T](w,
		parquet.Compression(&zstd.Codec{}), parquet.CreatedBy("countersign", "1", ""),
		parquet.SkipPageBounds("record"), // they would be held until the end, as large as the records are
	)}
}

func (e *parquetEncoder[R, T]) Write(record []byte) error {
	// The texts of a decoded record are parts of its bytes, which are not ours to keep.
	record = bytes.Clone(record)
	r, err := read[R](record)
	if err != nil {
		return err
	}
	if _, err := e.w.Write([]T{e.row(r, record)}); err != nil {
		return err
	}
	e.bytes += len(record)
	if e.rows++; e.rows < groupRows && e.bytes < groupBytes {
		return nil
	}
	e.rows, e.bytes = 0, 0
	return e.w.Flush()
}

func (e *parquetEncoder[R, T]) Close() error { return e.w.Close() }
