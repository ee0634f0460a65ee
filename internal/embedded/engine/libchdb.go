//go:build linux && (amd64 || arm64)

package engine

import (
	"errors"
	"fmt"
	"runtime"
	"unsafe"

	"github.com/ebitengine/purego"
)

// Every pointer the C API returns is an unsafe.Pointer to C memory, never to
// Go memory; Go slices and strings handed in stay alive through KeepAlive and
// are copied by the engine before the call returns.
var chdb struct {
	version           func() *byte
	setSignalHandlers func(enabled int32)
	connect           func(argc int32, argv unsafe.Pointer) unsafe.Pointer
	closeConn         func(conn unsafe.Pointer)
	shutdown          func() int32
	classify          func(conn, sql unsafe.Pointer, sqlLen uint64, db unsafe.Pointer, dbLen uint64, out unsafe.Pointer) int32

	query func(conn, sql unsafe.Pointer, sqlLen uint64, format unsafe.Pointer, formatLen uint64,
		names, nameLens, values, valueLens unsafe.Pointer, count uint64) unsafe.Pointer
	streamQuery func(conn, sql unsafe.Pointer, sqlLen uint64, format unsafe.Pointer, formatLen uint64,
		names, nameLens, values, valueLens unsafe.Pointer, count uint64) unsafe.Pointer
	streamFetch  func(conn, stream unsafe.Pointer) unsafe.Pointer
	streamCancel func(conn, stream unsafe.Pointer)

	insert func(conn, sql unsafe.Pointer, sqlLen uint64, format unsafe.Pointer, formatLen uint64,
		names, nameLens, values, valueLens unsafe.Pointer, count uint64) unsafe.Pointer
	insertAppend  func(stream, data unsafe.Pointer, n uint64) int32
	insertDone    func(stream unsafe.Pointer) unsafe.Pointer
	insertError   func(stream unsafe.Pointer) *byte
	insertDestroy func(stream unsafe.Pointer)

	resultBuffer      func(result unsafe.Pointer) unsafe.Pointer
	resultLength      func(result unsafe.Pointer) uint64
	resultError       func(result unsafe.Pointer) *byte
	resultRowsWritten func(result unsafe.Pointer) uint64
	resultDestroy     func(result unsafe.Pointer)
}

// loadLibrary loads libchdb.so and binds the functions used. Once per process.
func loadLibrary(path string) error {
	handle, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return fmt.Errorf("loading %s: %w", path, err)
	}
	for _, symbol := range []struct {
		name string
		fn   any
	}{
		{"chdb_version", &chdb.version},
		{"chdb_set_signal_handlers_enabled", &chdb.setSignalHandlers},
		{"chdb_connect", &chdb.connect},
		{"chdb_close_conn", &chdb.closeConn},
		{"chdb_shutdown", &chdb.shutdown},
		{"chdb_classify_query_n", &chdb.classify},
		{"chdb_query_with_params_n", &chdb.query},
		{"chdb_stream_query_with_params_n", &chdb.streamQuery},
		{"chdb_stream_fetch_result", &chdb.streamFetch},
		{"chdb_stream_cancel_query", &chdb.streamCancel},
		{"chdb_stream_insert_with_params_n", &chdb.insert},
		{"chdb_stream_append", &chdb.insertAppend},
		{"chdb_stream_done", &chdb.insertDone},
		{"chdb_stream_insert_error", &chdb.insertError},
		{"chdb_destroy_insert_stream", &chdb.insertDestroy},
		{"chdb_result_buffer", &chdb.resultBuffer},
		{"chdb_result_length", &chdb.resultLength},
		{"chdb_result_error", &chdb.resultError},
		{"chdb_result_rows_written", &chdb.resultRowsWritten},
		{"chdb_destroy_query_result", &chdb.resultDestroy},
	} {
		address, err := purego.Dlsym(handle, symbol.name)
		if err != nil {
			return fmt.Errorf("loading %s: it is too old or not libchdb: %w", path, err)
		}
		purego.RegisterFunc(symbol.fn, address)
	}
	// Before the first connect, or the engine takes over the signals that the
	// Go runtime turns into panics and stack traces.
	chdb.setSignalHandlers(0)
	return nil
}

// shutdownLibrary joins the engine's threads. Every connection must be closed.
func shutdownLibrary() error {
	if chdb.shutdown() != 0 {
		return errors.New("stopping the engine: a connection is open or a thread did not stop")
	}
	return nil
}

// A connection runs one statement at a time and is not safe for concurrent
// use. It carries session state: current database and settings.
type connection struct {
	handle *unsafe.Pointer // chdb_connection *, as chdb_connect returns it
}

// connect opens a connection; the first one of the process boots the engine
// with the server-level arguments among args.
func connect(args []string) (*connection, error) {
	argv := make([]*byte, 0, len(args)+2)
	for _, arg := range append([]string{"clickhouse"}, args...) {
		argv = append(argv, unsafe.SliceData(append([]byte(arg), 0)))
	}
	argv = append(argv, nil)
	handle := (*unsafe.Pointer)(chdb.connect(int32(len(argv)-1), unsafe.Pointer(unsafe.SliceData(argv))))
	runtime.KeepAlive(argv)
	if handle == nil {
		return nil, errors.New("connecting to the engine was refused")
	}
	return &connection{handle: handle}, nil
}

func (c *connection) close() { chdb.closeConn(unsafe.Pointer(c.handle)) }

// What a statement does to state that outlives it, as chdb_query_class.
const (
	classReadOnly = iota
	classMutating
	classMutatingGlobal
	classControl
	classUnknown
)

// classify has the engine's own parser say how many statements sql holds and
// the class of the most far-reaching one. Text that does not parse counts 0.
func (c *connection) classify(sql string) (statements int, class int) {
	out := struct{ size, statements, flags, class uint32 }{size: 16}
	if chdb.classify(*c.handle, stringPointer(sql), uint64(len(sql)), nil, 0, unsafe.Pointer(&out)) != 0 {
		return 0, classUnknown
	}
	runtime.KeepAlive(sql)
	return int(out.statements), int(out.class)
}

// query runs one statement to its end and hands its whole result to use, which
// must copy what it keeps.
func (c *connection) query(sql, format string, params []param, use func(data []byte) error) (written uint64, err error) {
	p := newParamArrays(params)
	result := chdb.query(*c.handle, stringPointer(sql), uint64(len(sql)), stringPointer(format), uint64(len(format)),
		p.names(), p.nameLengths(), p.values(), p.valueLengths(), uint64(len(params)))
	runtime.KeepAlive(sql)
	runtime.KeepAlive(format)
	runtime.KeepAlive(p)
	defer chdb.resultDestroy(result)
	if err := resultError(result); err != nil {
		return 0, err
	}
	if use != nil {
		err = use(resultBytes(result))
	}
	return chdb.resultRowsWritten(result), err
}

// stream runs one statement that reads, handing its result to use chunk by
// chunk; use must copy what it keeps. An error of use cancels the statement.
func (c *connection) stream(sql, format string, params []param, use func(chunk []byte) error) error {
	p := newParamArrays(params)
	stream := chdb.streamQuery(*c.handle, stringPointer(sql), uint64(len(sql)), stringPointer(format), uint64(len(format)),
		p.names(), p.nameLengths(), p.values(), p.valueLengths(), uint64(len(params)))
	runtime.KeepAlive(sql)
	runtime.KeepAlive(format)
	runtime.KeepAlive(p)
	defer chdb.resultDestroy(stream)
	if err := resultError(stream); err != nil {
		return err
	}
	for {
		more, err := c.fetch(stream, use)
		if err != nil {
			chdb.streamCancel(*c.handle, stream)
			return err
		}
		if !more {
			return nil
		}
	}
}

func (c *connection) fetch(stream unsafe.Pointer, use func(chunk []byte) error) (more bool, err error) {
	chunk := chdb.streamFetch(*c.handle, stream)
	defer chdb.resultDestroy(chunk)
	if err := resultError(chunk); err != nil {
		return false, err
	}
	data := resultBytes(chunk)
	if len(data) == 0 {
		return false, nil
	}
	return true, use(data)
}

// An insertion is an open INSERT whose data arrives in pieces. The connection
// takes no other statement until it is closed.
type insertion struct {
	handle unsafe.Pointer
}

func (c *connection) insert(sql, format string, params []param) (*insertion, error) {
	p := newParamArrays(params)
	i := &insertion{handle: chdb.insert(*c.handle, stringPointer(sql), uint64(len(sql)), stringPointer(format), uint64(len(format)),
		p.names(), p.nameLengths(), p.values(), p.valueLengths(), uint64(len(params)))}
	runtime.KeepAlive(sql)
	runtime.KeepAlive(format)
	runtime.KeepAlive(p)
	if err := i.err(); err != nil {
		i.close()
		return nil, err
	}
	return i, nil
}

// append copies data to the engine and waits while the engine is behind.
func (i *insertion) append(data []byte) error {
	if len(data) == 0 {
		return nil
	}
	state := chdb.insertAppend(i.handle, unsafe.Pointer(unsafe.SliceData(data)), uint64(len(data)))
	runtime.KeepAlive(data)
	if state == 0 {
		return nil
	}
	if err := i.err(); err != nil {
		return err
	}
	return errors.New("the engine refused the data without a reason")
}

// finish ends the data and waits until the rows are written, views included.
func (i *insertion) finish() (written uint64, err error) {
	result := chdb.insertDone(i.handle)
	defer chdb.resultDestroy(result)
	if err := resultError(result); err != nil {
		return 0, err
	}
	return chdb.resultRowsWritten(result), nil
}

// close frees the insertion and cancels it unless it was finished.
func (i *insertion) close() { chdb.insertDestroy(i.handle) }

func (i *insertion) err() error {
	if text := cString(chdb.insertError(i.handle)); text != "" {
		return parseException(text)
	}
	return nil
}

func resultError(result unsafe.Pointer) error {
	if text := cString(chdb.resultError(result)); text != "" {
		return parseException(text)
	}
	return nil
}

// resultBytes is memory of the engine, valid until the result is destroyed.
func resultBytes(result unsafe.Pointer) []byte {
	data := chdb.resultBuffer(result)
	if data == nil {
		return nil
	}
	return unsafe.Slice((*byte)(data), chdb.resultLength(result))
}

// paramArrays are the parallel arrays of the C API. All of it is Go memory
// reachable from the struct, so keeping the struct alive keeps it all.
type paramArrays struct {
	name, value       []*byte
	nameLen, valueLen []uint64
}

func newParamArrays(params []param) *paramArrays {
	p := &paramArrays{}
	for _, q := range params {
		// The engine refuses null pointers, so an empty value points at a NUL.
		p.name = append(p.name, unsafe.SliceData(append([]byte(q.name), 0)))
		p.nameLen = append(p.nameLen, uint64(len(q.name)))
		p.value = append(p.value, unsafe.SliceData(append([]byte(q.value), 0)))
		p.valueLen = append(p.valueLen, uint64(len(q.value)))
	}
	return p
}

func (p *paramArrays) names() unsafe.Pointer  { return unsafe.Pointer(unsafe.SliceData(p.name)) }
func (p *paramArrays) values() unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(p.value)) }
func (p *paramArrays) nameLengths() unsafe.Pointer {
	return unsafe.Pointer(unsafe.SliceData(p.nameLen))
}

func (p *paramArrays) valueLengths() unsafe.Pointer {
	return unsafe.Pointer(unsafe.SliceData(p.valueLen))
}

func stringPointer(s string) unsafe.Pointer { return unsafe.Pointer(unsafe.StringData(s)) }

func cString(p *byte) string {
	if p == nil {
		return ""
	}
	n := 0
	for *(*byte)(unsafe.Add(unsafe.Pointer(p), n)) != 0 {
		n++
	}
	return string(unsafe.Slice(p, n))
}
