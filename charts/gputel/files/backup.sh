#!/bin/sh
# Dump the database to BACKUP_DIR, whole or not at all, and keep the newest BACKUP_KEEP dumps.
# PGHOST, PGPORT, PGUSER, PGPASSWORD and PGDATABASE say what is dumped, as pg_dump reads them.
set -eu
umask 077
cd "$BACKUP_DIR"

# A dump that was broken off keeps this name, and the next one takes it.
name="gputel-$(date -u +%Y%m%dT%H%M%SZ).dump"
pg_dump --format=custom --no-password --file=dump.partial
pg_restore --list dump.partial > /dev/null
mv dump.partial "$name"
echo "$name: $(wc -c < "$name") bytes"

# Names sort by time.
count=$(ls gputel-*.dump | wc -l)
for old in gputel-*.dump; do
  [ "$count" -gt "$BACKUP_KEEP" ] || break
  rm -- "$old"
  echo "$old: removed"
  count=$((count - 1))
done
