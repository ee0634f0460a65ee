package demo

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/countersign-io/countersign/examples/bank/bank"
	"github.com/countersign-io/countersign/examples/vault"
	"github.com/countersign-io/countersign/internal/lifecycle"
	"github.com/countersign-io/countersign/internal/ssf"
	"github.com/countersign-io/countersign/internal/standalone"
	"github.com/countersign-io/countersign/stepup"
	stepupssf "github.com/countersign-io/countersign/stepup/ssf"
)

// VaultURL is where the vault is.
func (d *Demo) VaultURL() string { return d.vaultURL }

// trusting is a client that trusts this machine's own certificate only.
func (d *Demo) trusting() (*http.Client, error) {
	pem, err := os.ReadFile(d.s.CertFile)
	if err != nil {
		return nil, fmt.Errorf("reading the certificate: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("reading the certificate: %s holds none", d.s.CertFile)
	}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}}, nil
}

// addVault adds the second app, which hears of decisions by Shared Signals push and has the bank's identity provider.
func (d *Demo) addVault() error {
	listener, err := net.Listen("tcp", d.cfg.VaultListen)
	if err != nil {
		return fmt.Errorf("listening for the vault: %w", err)
	}
	d.vaultURL = "https://" + listener.Addr().String()
	if err := d.buildVault(listener); err != nil {
		return errors.Join(err, listener.Close())
	}
	return nil
}

func (d *Demo) buildVault(listener net.Listener) error {
	client, err := d.trusting()
	if err != nil {
		return err
	}
	pair, err := tls.LoadX509KeyPair(d.s.CertFile, d.s.KeyFile)
	if err != nil {
		return fmt.Errorf("reading the certificate: %w", err)
	}
	dir := filepath.Join(d.cfg.DataDir, "vault")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("making the vault's directory: %w", err)
	}
	authorization := filepath.Join(dir, "push.authorization")
	if err := standalone.EnsureToken(authorization, "Bearer "); err != nil {
		return err
	}
	store, err := stepupssf.OpenStore(filepath.Join(dir, "signals"), 0)
	if err != nil {
		return fmt.Errorf("opening the vault's store: %w", err)
	}
	cfg := vault.Config{
		Listener: listener, Certificate: pair, Issuer: d.bankURL + "/idp", JWKSURL: d.bankURL + "/idp/jwks", Audience: bank.Audience,
		Signals: stepupssf.Config{
			Issuer: d.s.SignalsURL + "/" + BankTenant, Tenant: BankTenant, Description: "vault", AuthorizationFile: authorization, Store: store, HTTP: client,
			ClientCredentials: &stepupssf.ClientCredentials{
				TokenURL: d.s.SignalsURL + ssf.PathToken, ClientID: standalone.ReceiverClient(BankTenant), ClientSecretFile: d.s.ReceiverSecret,
			},
		},
	}
	up := make(chan *vault.Vault, 1)
	d.s.Process.Add(lifecycle.Service{
		Name:  "vault",
		Run:   func(ctx context.Context) error { return errors.Join(d.runVault(ctx, cfg, up), store.Close()) },
		Ready: func(ctx context.Context) error { return vaultHears(ctx, up) },
	})
	return nil
}

// runVault builds the vault and runs it, with what it tells countersign of its challenges, by HTTP.
func (d *Demo) runVault(ctx context.Context, cfg vault.Config, up chan<- *vault.Vault) error {
	// Where ingest listens is known only once it does.
	ingest := d.s.Ingest.Addr(ctx)
	if ingest == nil {
		return cfg.Listener.Close()
	}
	receipts, err := stepup.NewReceiptSender(stepup.ReceiptConfig{URL: "http://" + ingest.String() + "/v1/receipts", TokenFile: d.s.IngestToken, App: "vault"})
	if err != nil {
		return errors.Join(err, cfg.Listener.Close())
	}
	cfg.Receipts = receipts
	v, err := vault.New(cfg)
	if err != nil {
		return errors.Join(err, cfg.Listener.Close())
	}
	up <- v
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return receipts.Run(ctx) })
	group.Go(func() error { return v.Run(ctx) })
	return group.Wait()
}

// vaultHears waits until the vault's stream works: it has been made, and a verification has come over it.
func vaultHears(ctx context.Context, up <-chan *vault.Vault) error {
	var v *vault.Vault
	select {
	case v = <-up:
	case <-ctx.Done():
		return ctx.Err()
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for !v.Fresh() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("the vault's stream does not come to life: %w", ctx.Err())
		case <-ticker.C:
		}
	}
	return nil
}
