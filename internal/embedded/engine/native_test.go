package engine

import (
	"bytes"
	"encoding/binary"
	"testing"

	chproto "github.com/ClickHouse/ch-go/proto"
)

// nativeBlock encodes columns as the engine does, at revision 0.
func nativeBlock(rows int, columns ...[3]string) []byte {
	var b chproto.Buffer
	b.PutUVarInt(uint64(len(columns)))
	b.PutUVarInt(uint64(rows))
	for _, c := range columns {
		b.PutString(c[0])
		b.PutString(c[1])
		b.PutRaw([]byte(c[2]))
	}
	return b.Buf
}

func le64(values ...uint64) (s string) {
	for _, v := range values {
		s += string(binary.LittleEndian.AppendUint64(nil, v))
	}
	return s
}

func sampleBlock() []byte {
	return nativeBlock(2,
		[3]string{"n", "UInt64", le64(7, 8)},
		[3]string{"s", "String", "\x01a\x00"},
		[3]string{"i", "IntervalDay", le64(3, 4)},
		[3]string{"z", "Nullable(Nothing)", "\x01\x01\x00\x00"},
		[3]string{"l", "LowCardinality(String)", le64(1, 0x600, 2) + "\x00\x01x" + le64(2) + "\x01\x00"},
		[3]string{"a", "Array(UInt8)", le64(1, 3) + "\x01\x02\x03"},
	)
}

// Every column's bytes arrive as they were, between the client's headers.
func TestTranscodeCopiesEveryColumn(t *testing.T) {
	t.Parallel()
	chunk := append(append(sampleBlock(), nativeBlock(0, [3]string{"l", "LowCardinality(String)", ""})...), sampleBlock()...)
	var out chproto.Buffer
	if err := transcode(&out, chunk, 54460); err != nil {
		t.Fatal(err)
	}
	info := []byte{1, 0, 2, 0xff, 0xff, 0xff, 0xff, 0}
	want := append([]byte{}, info...)
	want = append(want, 6, 2)
	for _, c := range [][2]string{
		{"\x01n\x06UInt64", le64(7, 8)},
		{"\x01s\x06String", "\x01a\x00"},
		{"\x01i\x0bIntervalDay", le64(3, 4)},
		{"\x01z\x11Nullable(Nothing)", "\x01\x01\x00\x00"},
		{"\x01l\x16LowCardinality(String)", le64(1, 0x600, 2) + "\x00\x01x" + le64(2) + "\x01\x00"},
		{"\x01a\x0cArray(UInt8)", le64(1, 3) + "\x01\x02\x03"},
	} {
		want = append(append(append(want, c[0]...), 0), c[1]...)
	}
	block := bytes.Clone(want)
	want = append(append(want, info...), "\x01\x00\x01l\x16LowCardinality(String)\x00"...)
	want = append(want, block...)
	if !bytes.Equal(out.Buf, want) {
		t.Errorf("got  %q\nwant %q", out.Buf, want)
	}
}

// A chunk that ends anywhere but behind a block is an error, never a shorter
// result.
func TestTranscodeRefusesEveryCut(t *testing.T) {
	t.Parallel()
	chunk := sampleBlock()
	for n := 1; n < len(chunk); n++ {
		var out chproto.Buffer
		if err := transcode(&out, chunk[:n], 54460); err == nil {
			t.Errorf("%d of %d bytes were taken for a whole", n, len(chunk))
		}
	}
}

func TestTranscodeRefusesWhatAClientCannotRead(t *testing.T) {
	t.Parallel()
	for _, typeName := range []string{"AggregateFunction(uniq, UInt64)", "NoSuchType", ""} {
		var out chproto.Buffer
		if err := transcode(&out, nativeBlock(1, [3]string{"c", typeName, le64(1)}), 54460); err == nil {
			t.Errorf("type %q was let through", typeName)
		}
	}
	var out chproto.Buffer
	if err := transcode(&out, []byte{1, 0xff, 0xff, 0xff, 0xff, 0x0f, 1, 'x', 5, 'U', 'I', 'n', 't', '8'}, 54460); err == nil {
		t.Error("a block of four thousand million rows in 14 bytes was let through")
	}
}

func TestParseException(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]exception{
		"Code: 60. DB::Exception: no table (UNKNOWN_TABLE)":        {Code: 60, Text: "Code: 60. DB::Exception: no table (UNKNOWN_TABLE)"},
		"Error: Code: 159. DB::Exception: late (TIMEOUT_EXCEEDED)": {Code: 159, Text: "Code: 159. DB::Exception: late (TIMEOUT_EXCEEDED)"},
		"Invalid or closed connection\n":                           {Code: 1002, Text: "Code: 1002. DB::Exception: Invalid or closed connection. (UNKNOWN_EXCEPTION)"},
		"Code: 99999999999999999999. x":                            {Code: 1002, Text: "Code: 1002. DB::Exception: Code: 99999999999999999999. x. (UNKNOWN_EXCEPTION)"},
	} {
		if got := parseException(text); got.Code != want.Code || got.Text != want.Text || got.Status != 500 {
			t.Errorf("%q: got %+v, want %+v", text, *got, want)
		}
	}
}
