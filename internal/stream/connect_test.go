package stream

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/countersign-io/countersign/internal/kafkatest"
)

func TestValidateReportsEveryProblem(t *testing.T) {
	t.Parallel()
	if err := DefaultConfig().Validate(); err != nil {
		t.Errorf("default config: %v", err)
	}
	bad := Config{
		Brokers: []string{"localhost", "a:1,b:2"}, Prefix: "no spaces",
		TLS: TLSConfig{CAFile: "ca.pem", CertFile: "c.pem"}, SASL: SASLConfig{Mechanism: "gssapi"},
	}
	err := bad.Validate()
	for _, want := range []string{
		"brokers[0]:", "brokers[1]:", "client_id:", "prefix:", "dial_timeout:", "request_timeout:", "tls.enabled:", "tls.cert_file:", "sasl.mechanism:",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error does not mention %s: %v", want, err)
		}
	}
	for _, half := range []SASLConfig{{Mechanism: SASLPlain}, {Username: "u"}} {
		c := DefaultConfig()
		c.SASL = half
		if c.Validate() == nil {
			t.Errorf("%+v is accepted", half)
		}
	}
}

func TestSecretsAreNotSentInTheClear(t *testing.T) {
	t.Parallel()
	for broker, tls := range map[string]bool{"kafka.example.com:9092": true, "192.0.2.1:9092": true, "127.0.0.1:9092": false, "localhost:9092": false} {
		c := DefaultConfig()
		c.Brokers, c.SASL = []string{"[::1]:9092", broker}, SASLConfig{Mechanism: SASLPlain, Username: "u", PasswordFile: "f"}
		if err := c.Validate(); (err != nil) != tls {
			t.Errorf("%s without TLS: %v", broker, err)
		}
		c.SASL.Mechanism = SASLScramSHA512
		if err := c.Validate(); err != nil {
			t.Errorf("%s: a challenge shows no secret: %v", broker, err)
		}
		c.SASL.Mechanism, c.TLS.Enabled = SASLPlain, true
		if err := c.Validate(); err != nil {
			t.Errorf("%s with TLS: %v", broker, err)
		}
	}
}

func TestConnectSaysWhichFileIsBad(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty")
	writeFile(t, empty, nil)
	for name, change := range map[string]func(*Config){
		"tls.ca_file: ":        func(c *Config) { c.TLS = TLSConfig{Enabled: true, CAFile: filepath.Join(dir, "none")} },
		"holds no certificate": func(c *Config) { c.TLS = TLSConfig{Enabled: true, CAFile: empty} },
		"tls.cert_file: ":      func(c *Config) { c.TLS = TLSConfig{Enabled: true, CertFile: empty, KeyFile: empty} },
		"sasl.password_file: ": func(c *Config) {
			c.SASL = SASLConfig{Mechanism: SASLPlain, Username: "u", PasswordFile: filepath.Join(dir, "none")}
		},
		"is empty, write the secret": func(c *Config) { c.SASL = SASLConfig{Mechanism: SASLPlain, Username: "u", PasswordFile: empty} },
	} {
		c := DefaultConfig()
		change(&c)
		if _, err := Connect(c, nil); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("error is %v, want one with %q", err, name)
		}
	}
}

func writeFile(t *testing.T, path string, content []byte) string {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// certificate makes a self-signed certificate for loopback, which is its own authority.
func certificate(t *testing.T) (cert tls.Certificate, certPEM, keyPEM []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "kafka"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"kafka.test"},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certPEM = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM = pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER})
	cert, err = tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	return cert, certPEM, keyPEM
}

// TestTLSAndSASLReachEveryConnection uses both of kafka-go's ways to the brokers: Transport (create, produce, list,
// fetch) and Dialer (ping, group, input). Each would fail without the settings.
func TestTLSAndSASLReachEveryConnection(t *testing.T) {
	t.Parallel()
	kafkatest.NeedFake(t)
	for _, mechanism := range []string{"", SASLPlain, SASLScramSHA256, SASLScramSHA512} {
		for _, mutual := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/mutual_%v", mechanism, mutual), func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				cert, certPEM, keyPEM := certificate(t)
				server := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
				cfg := DefaultConfig()
				cfg.TLS = TLSConfig{Enabled: true, CAFile: writeFile(t, filepath.Join(dir, "ca.pem"), certPEM)}
				if mutual {
					server.ClientAuth = tls.RequireAndVerifyClientCert
					server.ClientCAs = x509.NewCertPool()
					server.ClientCAs.AppendCertsFromPEM(certPEM)
					cfg.TLS.CertFile = writeFile(t, filepath.Join(dir, "cert.pem"), certPEM)
					cfg.TLS.KeyFile = writeFile(t, filepath.Join(dir, "key.pem"), keyPEM)
				}
				opts := []kafkatest.Option{kafkatest.WithTLS(server)}
				if mechanism != "" {
					opts = append(opts, kafkatest.WithUser(strings.ToUpper(mechanism), "counter", "sign")...)
					cfg.SASL = SASLConfig{Mechanism: mechanism, Username: "counter", PasswordFile: writeFile(t, filepath.Join(dir, "password"), []byte("sign\n"))}
				}
				fake := kafkatest.Fake(t, opts...)
				cfg.Brokers = fake.Addrs()
				c, err := Connect(cfg, nil)
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				roundTrip(t, c)

				// Without them neither way gets through.
				cfg.TLS, cfg.SASL = TLSConfig{}, SASLConfig{}
				cfg.DialTimeout, cfg.RequestTimeout = time.Second, time.Second
				plain, err := Connect(cfg, nil)
				if err != nil {
					t.Fatal(err)
				}
				defer plain.Close()
				if err := plain.Ping(t.Context()); err == nil {
					t.Error("Ping works without TLS and SASL")
				}
				if _, err := plain.client().Metadata(t.Context(), &kafka.MetadataRequest{}); err == nil {
					t.Error("a request works without TLS and SASL")
				}
			})
		}
	}
}

// roundTrip takes a record through everything that opens connections.
func roundTrip(t *testing.T, c *Cluster) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := c.Ping(ctx); err != nil {
		t.Fatal(err)
	}
	input, state := kafkatest.Name("input"), kafkatest.Name("state")
	if err := c.EnsureTopics(ctx, []TopicSpec{{Name: input, Partitions: 1}, {Name: state, Partitions: 1, Compact: true}}); err != nil {
		t.Fatal(err)
	}
	if err := c.Publisher(PublisherConfig{}).Publish(ctx, input, []Record{{Key: []byte("k"), Value: []byte("v")}}); err != nil {
		t.Fatal(err)
	}
	got := make(chan []byte, 2)
	consume, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan error, 2)
	go func() {
		done <- c.Consume(consume, ConsumerConfig{Group: kafkatest.Name("group"), Topic: input, MinFetchBytes: 1, MaxWait: -1}, func(_ context.Context, _ int, batch []Record) error {
			got <- bytes.Clone(batch[0].Value)
			return nil
		})
	}()
	go func() {
		done <- c.Own(consume, OwnerConfig{Group: kafkatest.Name("group"), Input: input, State: state}, func(int) Processor {
			return &spy{got: got}
		})
	}()
	for range 2 {
		select {
		case v := <-got:
			if string(v) != "v" {
				t.Errorf("got %q", v)
			}
		case <-ctx.Done():
			t.Fatal("nothing arrives")
		}
	}
	stop()
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// spy shows what it processes.
type spy struct{ got chan<- []byte }

func (s *spy) Restore(_, _ []byte) error { return nil }
func (s *spy) Process(_ context.Context, batch []Record) (Result, error) {
	s.got <- bytes.Clone(batch[0].Value)
	return Result{State: []KeyValue{{Key: batch[0].Key, Value: []byte("seen")}}}, nil
}
func (s *spy) Commit()              {}
func (s *spy) Encode([]byte) []byte { return []byte("seen") }

func TestWrongPasswordIsAnError(t *testing.T) {
	t.Parallel()
	kafkatest.NeedFake(t)
	fake := kafkatest.Fake(t, kafkatest.WithUser("PLAIN", "counter", "sign")...)
	cfg := DefaultConfig()
	cfg.Brokers = fake.Addrs()
	cfg.SASL = SASLConfig{Mechanism: SASLPlain, Username: "counter", PasswordFile: writeFile(t, filepath.Join(t.TempDir(), "p"), []byte("wrong-secret"))}
	c, err := Connect(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = c.Ping(t.Context())
	if err == nil {
		t.Fatal("a wrong password is accepted")
	}
	if strings.Contains(err.Error(), "wrong-secret") {
		t.Errorf("the error shows the password: %v", err)
	}
}

func TestServerNameIsChecked(t *testing.T) {
	t.Parallel()
	kafkatest.NeedFake(t)
	cert, certPEM, _ := certificate(t)
	fake := kafkatest.Fake(t, kafkatest.WithTLS(&tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}))
	for name, ok := range map[string]bool{"kafka.test": true, "": true, "elsewhere.test": false} {
		cfg := DefaultConfig()
		cfg.Brokers = fake.Addrs()
		cfg.TLS = TLSConfig{Enabled: true, ServerName: name, CAFile: writeFile(t, filepath.Join(t.TempDir(), "ca"), certPEM)}
		c, err := Connect(cfg, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, metaErr := c.client().Metadata(t.Context(), &kafka.MetadataRequest{})
		if err := errors.Join(c.Ping(t.Context()), metaErr); (err == nil) != ok {
			t.Errorf("server name %q: %v", name, err)
		}
	}
}

func TestPingWithoutBroker(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	cfg := DefaultConfig()
	cfg.Brokers = []string{addr}
	c, err := Connect(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Ping(t.Context()); err == nil || !strings.Contains(err.Error(), addr) {
		t.Errorf("error %v does not name %s", err, addr)
	}
}
