# Visible progress for the set-up scripts: sourced, never run.
#
#   skip "what"                 it is done already: says so
#   step "what" command args…   one line of progress; output goes to the log and is shown on failure

LOG_DIR="${CHASER_LOG_DIR:-$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)/.run/log}"
mkdir -p "$LOG_DIR"
LOG="$LOG_DIR/$(basename "$0").log"
: >"$LOG"

skip() {
    printf '  ok    %s\n' "$1"
}

step() {
    local what="$1" started=$SECONDS
    shift
    printf '  ..    %s\n' "$what"
    # A fresh shell keeps `set -e` in force inside the step; `if` would switch it off there.
    set +e
    (set -e; "$@") >>"$LOG" 2>&1
    local code=$?
    set -e
    if [ "$code" -eq 0 ]; then
        printf '  done  %s (%ss)\n' "$what" "$((SECONDS - started))"
        return
    fi
    printf '  FAIL  %s\n' "$what" >&2
    tail -n 30 "$LOG" | sed 's/^/        | /' >&2
    printf '        the whole log: %s\n' "$LOG" >&2
    exit "$code"
}
