#!/bin/sh
# Builds the data set of a spec, and checks one of its rows.
#
#   FLAWSMITH_URL      where the service listens
#   FLAWSMITH_API_KEY  a key with the scopes read and generate; from the secrets of your CI, never in a file
#
#   build-dataset.sh [SPEC [OUT]]
#
# Ends with the status of `flawsmith dataset build`: 0 done, 2 the spec is at fault, 3 the service is not reachable,
# 7 the data set is there but not whole; after it with that of `flawsmith reproduce`, where 6 is as good as 0.
set -eu

spec=${1:-spec.yaml}
out=${2:-dataset}
: "${FLAWSMITH_URL:?set it to the address of the service}"
flawsmith=${FLAWSMITH:-flawsmith}

# What cannot be made is told before anything is.
$flawsmith dataset build "$spec" --dry-run

# Run again after a break, it goes on with the same job.
$flawsmith dataset build "$spec" --wait --out "$out"

# The lock is new or has changed: keep it with the spec, so that types and class numbers stay.
if command -v git >/dev/null && git -C "$(dirname "$spec")" rev-parse --git-dir >/dev/null 2>&1; then
  git -C "$(dirname "$spec")" status --short -- flawsmith.lock
fi

# An item of the manifest, made again: the data set is what its manifest says.
row=$(sed -n 's/^{"index": *\([0-9]*\), *"name": *"[^"]*", *"kind": *"defect",.*"status": *"succeeded", *"accepted": *true.*/\1/p' \
  "$out/manifest.jsonl" | head -n 1)
if [ -n "$row" ]; then
  status=0
  $flawsmith reproduce "$out/manifest.jsonl" --row "$row" || status=$?
  [ "$status" -eq 0 ] || [ "$status" -eq 6 ] || exit "$status"
fi
