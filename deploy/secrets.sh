#!/bin/sh
# Makes the secrets that docker-compose.yml mounts, each once: random, in deploy/secrets, never in git. The folder is the
# owner's alone; the files in it are readable, because the containers run as users of their own.
set -eu
cd "$(dirname -- "$0")"
mkdir -p secrets
chmod 700 secrets
for name in clickhouse-password ingest-token api-token; do
	[ -s "secrets/$name" ] || {
		(umask 022 && head -c 24 /dev/urandom | base64 | tr -d '\n=' | tr '+/' '-_' >"secrets/$name")
		echo "made deploy/secrets/$name"
	}
done
