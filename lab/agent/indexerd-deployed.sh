#!/bin/sh
# What the indexer agent of deployed stations does, defects included, written anew from its
# documented behaviour: for the demo and the tests. Stations get station-agent/indexerd instead.
#
#   indexerd-deployed.sh [CONFIG]
#
# INDEXERD_STEP names a program that is called with the name of each step before it is taken.
step() { if [ -n "${INDEXERD_STEP:-}" ]; then "$INDEXERD_STEP" "$1"; fi; }

. "${1:-/etc/node/indexerD.cfg}"

step test
if [ -e "$HALT_FLAG" ]; then
    if [ -z "$(find "$HALT_FLAG" -mmin "+$HALT_TIMEOUT")" ]; then
        echo "indexerd: halted" >&2
        exit 0
    fi
    # A stale flag is removed, and none is created in its place.
    step remove-stale
    rm -f "$HALT_FLAG"
else
    step touch
    touch "$HALT_FLAG"
fi

[ -e "$LAST_FILE_SEARCH_FLAG" ] || touch -d '1970-01-02' "$LAST_FILE_SEARCH_FLAG"
touch "$LAST_FILE_SEARCH_FLAG.start"
step find
find "$LOCAL_REPO" -type f -newer "$LAST_FILE_SEARCH_FLAG" -printf '%h\0/%f\0\n' >"$TEMP_CHANGED"
[ -e "$DUE_BACKUP" ] || : >"$DUE_BACKUP"
step merge
sort -o "$DUE_BACKUP" -u "$TEMP_CHANGED" "$DUE_BACKUP"
step cookie
touch -r "$LAST_FILE_SEARCH_FLAG.start" "$LAST_FILE_SEARCH_FLAG"
rm -f "$LAST_FILE_SEARCH_FLAG.start"
[ ! -e "$BACKUP_DONE" ] || sort -o "$BACKUP_DONE" -u "$BACKUP_DONE"
step release
rm -f "$HALT_FLAG"
exit 0
