#!/bin/sh
# Installs the worker that lies beside this script, or upgrades it: run as root. What was configured stays, and so does who the
# worker is. ROOT=/some/folder installs below that folder, without a user and without systemd (for packages and tests).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=${ROOT:-}

if [ -z "$root" ]; then
    [ "$(id -u)" = 0 ] || { echo "install.sh: run it as root" >&2; exit 1; }
    id tenantry >/dev/null 2>&1 || useradd --system --home-dir /var/lib/tenantry --shell /usr/sbin/nologin tenantry
fi
mkdir -p "$root/usr/bin" "$root/etc/tenantry" "$root/etc/systemd/system" "$root/var/lib/tenantry"
chmod 700 "$root/var/lib/tenantry"
install -m 0755 "$here/tenantry-worker" "$root/usr/bin/tenantry-worker.new"
mv "$root/usr/bin/tenantry-worker.new" "$root/usr/bin/tenantry-worker" # a running one keeps its own
install -m 0644 "$here/tenantry-worker.service" "$root/etc/systemd/system/tenantry-worker.service"
[ -e "$root/etc/tenantry/worker.yaml" ] || install -m 0644 "$here/worker.yaml" "$root/etc/tenantry/worker.yaml"
if [ -z "$root" ]; then
    chown tenantry:tenantry /var/lib/tenantry
    systemctl daemon-reload
    systemctl try-restart tenantry-worker
fi
cat <<TEXT
Installed tenantry-worker $(cat "$here/VERSION"). To join a pool, with the one-time token of your provider in token.txt:
  runuser -u tenantry -- /usr/bin/tenantry-worker enrol -url https://BACKUP.EXAMPLE.COM -token-file - < token.txt
  shred -u token.txt
  systemctl enable --now tenantry-worker
TEXT
