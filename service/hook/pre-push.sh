#!/bin/sh
# terazi-hook-5f2c9a71 (by this line `terazi hook uninstall` knows its own file)
# Reviews what is pushed. Skip it once: TERAZI_SKIP=1 git push, or git push --no-verify
python=@PYTHON@
input=$(cat)
feed() { [ -z "$input" ] || printf '%s\n' "$input"; }
previous=$(dirname -- "$0")/pre-push.terazi-previous
if [ -x "$previous" ]; then feed | "$previous" "$@" || exit; fi
if [ -x "$python" ] && "$python" -P -c 'import ui.cli.commands, service.hook' 2>/dev/null; then
    feed | "$python" -P -m ui.cli.main hook run @OPTIONS@ -- "$@"
elif command -v terazi >/dev/null; then
    feed | terazi hook run @OPTIONS@ -- "$@"
else
    echo "terazi: not found with $python nor on PATH; run 'terazi hook install' again" >&2
    (exit 127)
fi
status=$?
case $status in 0 | 1 | 130) exit $status ;; esac
echo "terazi: NOT REVIEWED: the review ended with status $status (on failure: @FAIL@)" >&2
[ @FAIL@ = open ]
