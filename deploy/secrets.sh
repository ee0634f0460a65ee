#!/bin/sh
# Makes the secrets that docker-compose.yml mounts, each once: random, in deploy/secrets, never in git. The folder is the
# owner's alone; the files in it are readable, because the containers run as users of their own.
set -eu
cd "$(dirname -- "$0")"
mkdir -p secrets
chmod 700 secrets
for name in clickhouse-password ingest-token api-token push-secrets-key receiver-secret operator-token \
	grafana-password grafana-secret-key grafana-clickhouse-password; do
	[ -s "secrets/$name" ] || {
		(umask 022 && head -c 24 /dev/urandom | base64 | tr -d '\n=' | tr '+/' '-_' >"secrets/$name")
		echo "made deploy/secrets/$name"
	}
done
# ClickHouse gets the hash of Grafana's password only, in the form of its files of users.
hash=$(openssl dgst -sha256 -r <secrets/grafana-clickhouse-password | cut -d' ' -f1)
(umask 022 && printf '<clickhouse><users><grafana><password_sha256_hex>%s</password_sha256_hex></grafana></users></clickhouse>\n' \
	"$hash" >secrets/clickhouse-grafana-user)
# Shared Signals is spoken over TLS only: a certificate for this machine, its own authority. Put yours in its place.
[ -s secrets/courier-cert ] || {
	(umask 022 && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 397 -subj "/CN=countersign courier" \
		-addext "subjectAltName=DNS:localhost,DNS:courier,IP:127.0.0.1" -keyout secrets/courier-key -out secrets/courier-cert 2>/dev/null)
	chmod 644 secrets/courier-key
	echo "made deploy/secrets/courier-cert and courier-key"
}
