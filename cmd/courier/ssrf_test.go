package main

import (
	"encoding/json"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
)

// canary listens on loopback and counts who connects.
func canary(t *testing.T, address string) (port string, count func() int) {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", address)
	if err != nil {
		t.Logf("no listener at %s: %v", address, err)
		return "443", func() int { return 0 }
	}
	var n atomic.Int32
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			n.Add(1)
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	_, port, err = net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port, func() int { return int(n.Load()) }
}

// TestPushesStayOutside registers streams whose pushes would go to the networks of the installation itself, by create, PATCH
// and PUT. Most addresses are refused; what can be known only when it is dialled is never called.
func TestPushesStayOutside(t *testing.T) {
	t.Parallel()
	w := newWorld(t, quickly, func(c string) string {
		return strings.Replace(c, `allow_networks: ["127.0.0.0/8"]`, "allow_networks: [], timeout: 2s", 1)
	})
	four, called4 := canary(t, "127.0.0.1:0")
	six, called6 := canary(t, "[::1]:0")
	hostname, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	p := w.another(t, push)
	conf := p.endpoint(t, "configuration_endpoint")
	_, id := p.open(t, object{"method": poll}, sessionRevoked)
	ports := strings.NewReplacer("PORT6", six, "PORT", four)
	for _, address := range []string{
		// other schemes, or none
		"http://example.com/", "http://127.0.0.1:PORT/", "ftp://example.com/", "file:///etc/passwd", "gopher://127.0.0.1:PORT/", "unix:///run/docker.sock",
		"//127.0.0.1:PORT/", "127.0.0.1:PORT", "/local", "https:", "https://", "https:///path", "https://:PORT/", "https:127.0.0.1", "javascript:alert(1)", "HTTP://example.com",
		// user names, passwords, fragments
		"https://user@example.com/", "https://user:secret@example.com/", "https://example.com@127.0.0.1:PORT/", "https://example.com/#127.0.0.1",
		// loopback
		"https://127.0.0.1:PORT/", "https://127.255.255.254:PORT/", "https://[::1]:PORT6/", "https://[::ffff:127.0.0.1]:PORT/", "https://[::ffff:7f00:1]:PORT/",
		"https://[::127.0.0.1]:PORT/", "https://[0:0:0:0:0:0:0:1]:PORT6/", "https://[64:ff9b::7f00:1]:PORT/", "https://[64:ff9b::127.0.0.1]:PORT/",
		"https://[64:ff9b:1::7f00:1]:PORT/", "https://[2002:7f00:1::]:PORT/", "https://[2001:0:7f00:1::]:PORT/", "https://[::1%25lo]:PORT6/",
		"https://localhost:PORT/", "https://localhost.:PORT/", "https://app.localhost:PORT/", "https://0.0.0.0:PORT/", "https://[::]:PORT6/",
		// private, link-local, shared, special
		"https://10.0.0.1/", "https://172.16.0.1/", "https://172.31.255.255/", "https://192.168.1.1/", "https://[fc00::1]/", "https://[fd12:3456::1]/",
		"https://[::ffff:10.0.0.1]/", "https://[::ffff:192.168.0.1]/", "https://[fe80::1]/", "https://[fe80::1%25eth0]/", "https://[fec0::1]/", "https://100.64.0.1/",
		"https://192.0.2.1/", "https://198.18.0.1/", "https://224.0.0.1/", "https://[ff02::1]/", "https://255.255.255.255/", "https://240.0.0.1/",
		// metadata of clouds
		"https://169.254.169.254/latest/meta-data/", "https://[::ffff:169.254.169.254]/", "https://[::ffff:a9fe:a9fe]/", "https://[64:ff9b::a9fe:a9fe]/",
		"https://[fd00:ec2::254]/", "https://100.100.100.200/", "https://192.0.0.192/", "https://[2002:a9fe:a9fe::]/",
		"", strings.Repeat("https://example.com/", 200),
	} {
		address = ports.Replace(address)
		for method, body := range map[string]object{
			http.MethodPost:  {"delivery": pushTo(address)},
			http.MethodPatch: {"stream_id": id, "delivery": pushTo(address)},
			http.MethodPut:   {"stream_id": id, "delivery": pushTo(address)},
		} {
			if status, _, answer := p.call(t, method, conf, body); status != http.StatusBadRequest {
				t.Errorf("%s %.100q: %d %s", method, address, status, answer)
			}
		}
	}
	// Names, and what some resolvers take for addresses.
	var accepted []string
	for i, address := range []string{
		"https://LOCALHOST:PORT/", "https://localhost.localdomain:PORT/", "https://ip6-localhost:PORT6/", "https://" + hostname + ":PORT/", "https://127.1:PORT/",
		"https://2130706433:PORT/", "https://0x7f000001:PORT/", "https://0x7f.0.0.1:PORT/", "https://0177.0.0.1:PORT/", "https://017700000001:PORT/", "https://127.0.0.1.:PORT/",
		"https://127。0。0。1:PORT/", "https://①②⑦.0.0.1:PORT/", "https://%31%32%37.0.0.1:PORT/", "https://127.0.0.1%00.example.com:PORT/", "https://127.0.0.1:PORT\\@example.com/",
		"https://example.com\r\n.127.0.0.1:PORT/", "https://0:PORT/", "https://metadata.google.internal/computeMetadata/v1/", "https://[::ffff:127.1]:PORT/",
	} {
		if i%8 == 0 {
			p = w.another(t, push)
		}
		status, _, answer := p.call(t, http.MethodPost, conf, object{"delivery": pushTo(ports.Replace(address)), "events_requested": []string{sessionRevoked}})
		switch status {
		case http.StatusBadRequest:
		case http.StatusCreated:
			id := idOf(t, answer)
			accepted = append(accepted, id)
			p.verify(t, id, "")
		default:
			t.Errorf("%q: %d %s", address, status, answer)
		}
	}
	w.outbox(t).revoke(t, tenant, "alice")
	operator := &party{client: w.client, token: w.operator}
	for _, id := range accepted {
		var view struct {
			Endpoint  string `json:"endpoint_url"`
			LastError string `json:"last_error"`
			Success   string `json:"last_success"`
		}
		eventually(t, patience, func() bool {
			_, _, body := operator.call(t, http.MethodGet, w.base+"/operator/v1/streams/"+id, nil)
			return json.Unmarshal(body, &view) == nil && view.LastError != ""
		})
		if view.Success != "" {
			t.Errorf("%s was called", view.Endpoint)
		}
		t.Logf("%s: %s", view.Endpoint, view.LastError)
	}
	if a, b := called4(), called6(); a+b != 0 {
		t.Errorf("%d connections to 127.0.0.1, %d to ::1", a, b)
	}
}

// TestRedirectsLeadNowhere has a receiver that may be called send its pushes to one that may not.
func TestRedirectsLeadNowhere(t *testing.T) {
	t.Parallel()
	w := newWorld(t, quickly, func(c string) string {
		return strings.Replace(c, `["127.0.0.0/8"]`, `["127.0.0.1/32"]`, 1)
	})
	port, called := canary(t, "127.0.0.2:0")
	p := w.another(t, push)
	ledger := newLedger(t, p.keys(t))
	codes := []int{http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect, http.StatusUseProxy}
	k := newSink(t, ledger, "receiver", func(n int, _ secevent, w http.ResponseWriter) bool {
		if n > len(codes) {
			return true
		}
		w.Header().Set("Location", "https://127.0.0.2:"+port+"/")
		w.Header().Set("Refresh", "0; url=https://127.0.0.2:"+port+"/")
		w.Header().Set("Alt-Svc", `h2="127.0.0.2:`+port+`"`)
		w.WriteHeader(codes[n-1])
		return false
	})
	p.open(t, pushTo(k.URL), sessionRevoked)
	jti := w.outbox(t).revoke(t, tenant, "alice")
	ledger.await(t, "receiver", jti)
	if n := called(); n != 0 {
		t.Errorf("%d connections to where it was sent", n)
	}
	if k.calls() != len(codes)+1 {
		t.Errorf("%d pushes", k.calls())
	}
}
