#!/bin/sh
# Builds the data set of a spec, and checks one of its rows.
#
#   FLAWSMITH_URL      where the service listens
#   FLAWSMITH_API_KEY  a key with the scopes read and generate; from the secrets of your CI, never in a file
#   MASKS, REGIONS, EXCLUDES, NORMALS
#                      the folders of the spec, to check a row that was sent such a file: of masks, regions or excludes,
#                      and of photos where the data set has none of them whole
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

# An item of the manifest, made again: the data set is what its manifest says. Of those that were sent a mask, a region or
# an exclude none is taken unless it is told where these are.
told() {
  if [ -n "$1" ]; then cat; else grep -v "$2" || true; fi
}
row=$(told "${MASKS:-}" '"mask": *"sent"' <"$out/manifest.jsonl" \
  | told "${REGIONS:-}" '"source_region_sha256": *"' | told "${EXCLUDES:-}" '"source_exclude_sha256": *"' \
  | sed -n 's/^{"index": *\([0-9]*\), *"name": *"[^"]*", *"kind": *"defect",.*"status": *"succeeded", *"accepted": *true.*/\1/p' \
  | head -n 1)
if [ -n "$row" ]; then
  set -- --row "$row"
  [ -z "${MASKS:-}" ] || set -- "$@" --masks "$MASKS"
  [ -z "${REGIONS:-}" ] || set -- "$@" --regions "$REGIONS"
  [ -z "${EXCLUDES:-}" ] || set -- "$@" --excludes "$EXCLUDES"
  [ -z "${NORMALS:-}" ] || set -- "$@" --normals "$NORMALS"
  status=0
  $flawsmith reproduce "$out/manifest.jsonl" "$@" || status=$?
  [ "$status" -eq 0 ] || [ "$status" -eq 6 ] || exit "$status"
else
  echo "no row is checked: none is accepted that can be made again without MASKS, REGIONS or EXCLUDES" >&2
fi
