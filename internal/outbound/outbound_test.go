package outbound

import (
	"context"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// receiver is a TLS server on loopback, and the file with its authority.
func receiver(t *testing.T, h http.HandlerFunc) (server *httptest.Server, ca string) {
	t.Helper()
	server = httptest.NewTLSServer(h)
	t.Cleanup(server.Close)
	ca = filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(ca, block, 0o600); err != nil {
		t.Fatal(err)
	}
	return server, ca
}

func client(t *testing.T, change func(*Config)) *http.Client {
	t.Helper()
	cfg := DefaultConfig()
	change(&cfg)
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseIdleConnections)
	return c
}

func get(t *testing.T, c *http.Client, address string) (int, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, nil
}

func TestLoopbackIsRefusedUnlessAllowed(t *testing.T) {
	t.Parallel()
	called := make(chan struct{}, 100)
	server, ca := receiver(t, func(http.ResponseWriter, *http.Request) { called <- struct{}{} })
	port := server.URL[strings.LastIndex(server.URL, ":"):]
	refused := client(t, func(c *Config) { c.CAFile = ca })
	for _, host := range []string{"127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "127.1", "2130706433", "0x7f000001", "0.0.0.0", "[::]", "127.0.0.1."} {
		status, err := get(t, refused, "https://"+host+port)
		if err == nil {
			t.Errorf("%s: answered %d", host, status)
		}
	}
	if len(called) > 0 {
		t.Error("the server was called")
	}
	if _, err := get(t, refused, server.URL); !errors.Is(err, ErrForbidden) {
		t.Errorf("got %v, want ErrForbidden", err)
	}
	allowed := client(t, func(c *Config) { c.CAFile, c.AllowNetworks = ca, []string{"127.0.0.0/8"} })
	if status, err := get(t, allowed, server.URL); err != nil || status != http.StatusOK {
		t.Errorf("allowed: %d, %v", status, err)
	}
}

// TestEachDialIsChecked lets a name resolve to a public address first and to loopback at the dial, as a rebinding name
// server does: what counts is the address that is dialled.
func TestEachDialIsChecked(t *testing.T) {
	t.Parallel()
	g, err := NewGuard(DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	if err := g.CheckURL("https://rebinding.example.com/hook"); err != nil {
		t.Errorf("a name is judged when it is dialled: %v", err)
	}
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	accepted := make(chan struct{}, 1)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			accepted <- struct{}{}
			_ = conn.Close()
		}
	}()
	dialer := &net.Dialer{ControlContext: g.control}
	if conn, err := dialer.DialContext(t.Context(), "tcp", listener.Addr().String()); !errors.Is(err, ErrForbidden) {
		t.Errorf("got %v and %v, want ErrForbidden", conn, err)
	}
	if len(accepted) > 0 {
		t.Error("the connection was opened")
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	t.Parallel()
	inner := 0
	server, ca := receiver(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/inner" {
			inner++
			return
		}
		http.Redirect(w, r, "/inner", http.StatusTemporaryRedirect)
	})
	c := client(t, func(c *Config) { c.CAFile, c.AllowNetworks = ca, []string{"127.0.0.0/8"} })
	status, err := get(t, c, server.URL)
	if err != nil || status != http.StatusTemporaryRedirect || inner != 0 {
		t.Errorf("got %d, %v, %d calls of the target", status, err, inner)
	}
}

func TestPlainHTTPAndOtherSchemes(t *testing.T) {
	t.Parallel()
	plain := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(plain.Close)
	strict := client(t, func(c *Config) { c.AllowNetworks = []string{"127.0.0.0/8"} })
	for _, address := range []string{plain.URL, "file:///etc/passwd", "ftp://example.com/", "gopher://example.com"} {
		if _, err := get(t, strict, address); !errors.Is(err, ErrForbidden) {
			t.Errorf("%s: %v", address, err)
		}
	}
	told := client(t, func(c *Config) { c.AllowNetworks, c.PlainHTTP = []string{"127.0.0.0/8"}, true })
	if _, err := get(t, told, plain.URL); err != nil {
		t.Error(err)
	}
}

func TestCheckURL(t *testing.T) {
	t.Parallel()
	g, err := NewGuard(Config{Timeout: DefaultConfig().Timeout, MaxConnsPerHost: 1, AllowNetworks: []string{"10.20.0.0/16", "fd00:1::/32"}})
	if err != nil {
		t.Fatal(err)
	}
	for address, ok := range map[string]bool{
		"https://receiver.example.com/push": true, "https://8.8.8.8/": true, "https://[2606:4700::1111]:8443/x?y=z": true,
		"https://10.20.1.1/": true, "https://[fd00:1::5]/": true, "https://[::ffff:10.20.1.1]/": true,
		"http://receiver.example.com/": false, "https://10.21.0.1/": false, "https://[fd00:2::5]/": false, "https://192.168.1.1/": false,
		"https://169.254.169.254/latest/meta-data": false, "https://[fe80::1%25eth0]/": false, "https://[fd00:ec2::254]/": false,
		"https://127.0.0.1/": false, "https://localhost./": false, "https://a.localhost/": false, "https://LOCALHOST/": false, "https://example.com:65536/": false, "https://example.com:0/": false, "https://[::]/": false, "https://0.0.0.0/": false,
		"https://100.64.0.1/": false, "https://224.0.0.1/": false, "https://255.255.255.255/": false, "https://[ff02::1]/": false,
		"https://[64:ff9b::7f00:1]/": false, "https://[2002:7f00:1::]/": false, "https://[2001:0:1::]/": false, "https://[::127.0.0.1]/": false,
		"https://user:pass@example.com/": false, "https://example.com/#x": false, "https:///x": false, "https:opaque": false, "::": false,
		"https://example.com/" + strings.Repeat("a", 2048): false,
	} {
		if err := g.CheckURL(address); (err == nil) != ok {
			t.Errorf("%s: %v, want ok %v", address, err, ok)
		}
	}
}

// TestNothingPrivateIsPublic draws addresses and compares with what net/netip says by itself.
func TestNothingPrivateIsPublic(t *testing.T) {
	t.Parallel()
	g, err := NewGuard(DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		var addr netip.Addr
		if rapid.Bool().Draw(t, "v4") {
			addr = netip.AddrFrom4([4]byte(rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "bytes")))
		} else {
			addr = netip.AddrFrom16([16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "bytes")))
		}
		plain := addr.Unmap()
		inside := plain.IsPrivate() || plain.IsLoopback() || plain.IsLinkLocalUnicast() || plain.IsMulticast() || plain.IsUnspecified()
		if inside && g.check(addr) == nil {
			t.Fatalf("%s may be called", addr)
		}
		mapped := netip.AddrFrom16(addr.As16())
		if (g.check(mapped) == nil) != (g.check(addr) == nil) {
			t.Fatalf("%s and %s are judged differently", mapped, addr)
		}
	})
}

func TestConfigNamesEveryProblem(t *testing.T) {
	t.Parallel()
	err := Config{AllowNetworks: []string{"10.0.0.0", "::ffff:10.0.0.0/104"}}.Validate()
	for _, want := range []string{"allow_networks[0]", "allow_networks[1]", "timeout", "max_conns_per_host"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not name %s", err, want)
		}
	}
	if _, err := New(Config{CAFile: filepath.Join(t.TempDir(), "none"), Timeout: DefaultConfig().Timeout, MaxConnsPerHost: 1}); err == nil {
		t.Error("a missing file of authorities is an error")
	}
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
}

func TestErrorsNameTheReason(t *testing.T) {
	t.Parallel()
	c := client(t, func(*Config) {})
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, "https://169.254.169.254/", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Do(req)
	if err == nil {
		_ = resp.Body.Close()
		t.Fatal("it answered")
	}
	if u, ok := errors.AsType[*url.Error](err); !ok || !errors.Is(err, ErrForbidden) || u.Timeout() {
		t.Errorf("got %v", err)
	}
}
