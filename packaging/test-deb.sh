#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# test-deb.sh PACKAGE: installs it for real, starts it as the unit does, publishes, stops, removes and purges.
#
# All of it happens in a copy of this machine's file system (an overlay, gone afterwards) in a mount namespace, so that dpkg
# checks the dependencies against what is installed here, and nothing here changes. There systemd isn't running: the
# unit is checked by `systemd-analyze verify`, and its ExecStart is run as an unprivileged user without capabilities that may
# write its state directory only.
set -euo pipefail

if [ "${1:-}" != --inside ]; then
  package=$(realpath "$1")
  [ "$(id -u)" = 0 ] || exec sudo "$0" "$package"
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  # The overlay must not lie on what it covers.
  unshare --mount --propagation private bash -euo pipefail -c '
    work=$1 package=$2 script=$3
    mount -t tmpfs tmpfs "$work"
    mkdir "$work"/{up,work,root}
    mount -t overlay overlay -o lowerdir=/,upperdir="$work/up",workdir="$work/work" "$work/root"
    mount -t proc proc "$work/root/proc" || mount --rbind /proc "$work/root/proc"
    mount --rbind /dev "$work/root/dev"
    mount -t tmpfs tmpfs "$work/root/run"
    mkdir -p "$work/root/tmp/test" && cp "$package" "$work/root/tmp/test/fairlead.deb" && cp "$script" "$work/root/tmp/test/"
    exec chroot "$work/root" /tmp/test/test-deb.sh --inside' -- "$work" "$package" "$(realpath "$0")"
  exit
fi

cd /tmp/test
export PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
say() { echo "test-deb: $*"; }
fail() { say "FAILED: $*" >&2; [ ! -f /tmp/test/log ] || cat /tmp/test/log >&2; exit 1; }
pid=
trap '[ -z "$pid" ] || kill -9 "$pid" 2>/dev/null || true' EXIT

dpkg -i fairlead.deb >/tmp/test/dpkg.log 2>&1 || { cat /tmp/test/dpkg.log >&2; fail "dpkg -i"; }
[ "$(dpkg-query -W -f='${Status}' fairlead)" = "install ok installed" ] || fail "it is not installed"
dpkg --verify fairlead | grep . && fail "files differ from the package's"
say "installed $(dpkg-query -W -f='${Version}' fairlead), $(dpkg-query -W -f='${Depends}' fairlead)"
! ldd /usr/bin/fairlead | grep -iE 'not found|libswift|libFoundation' || fail "it needs a Swift runtime, or a missing library"

for file in /usr/share/bash-completion/completions/fairlead /usr/share/zsh/vendor-completions/_fairlead \
  /usr/share/fish/vendor_completions.d/fairlead.fish /usr/share/fairlead/alerts.yml /usr/share/fairlead/grafana.json \
  /usr/share/fairlead/Plugins/slack.lua /usr/share/doc/fairlead/copyright /etc/fairlead/conf.d; do
  [ -e "$file" ] || fail "$file is missing"
done
bash -c '. /usr/share/bash-completion/completions/fairlead && complete -p fairlead' >/dev/null || fail "bash completion"
for command in $(fairlead --help | sed -n '/^SUBCOMMANDS:/,/^$/s/^  \([a-z]*\) .*/\1/p'); do
  page=/usr/share/man/man1/fairlead-$command.1.gz
  [ -f "$page" ] || fail "no manual page of $command"
done
for page in /usr/share/man/man1/fairlead*.1.gz; do
  wrong=$(zcat "$page" | groff -man -Tutf8 -ww -K utf8 -P-c 2>&1 >/dev/null)
  [ -z "$wrong" ] || fail "$page: $wrong"
  zcat "$page" | lexgrog - >/dev/null || fail "$page has no NAME that apropos finds"
done
say "$(ls /usr/share/man/man1/fairlead*.1.gz | wc -l) manual pages, three completions"

wrong=$(systemd-analyze verify --man=no /lib/systemd/system/fairlead.service 2>&1 | grep -i fairlead || true)
[ -z "$wrong" ] || fail "systemd-analyze verify: $wrong"
exposure=$(systemd-analyze security --offline=true --threshold=20 /lib/systemd/system/fairlead.service 2>&1 | tail -1) \
  || fail "the unit is more exposed than it was: $exposure"
say "unit: ${exposure#* }"

fairlead check /etc/fairlead/routes.conf >check.log 2>&1 || { cat check.log >&2; fail "the installed configuration has errors"; }

# As the unit: systemd makes these from StateDirectory and User.
install -d -m 0700 -o 64123 -g 64123 /var/lib/fairlead
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
sed -i "s/127.0.0.1:8080/127.0.0.1:$port/" /etc/fairlead/routes.conf
cat >/etc/fairlead/Plugins/count.lua <<'END'
return function(event, ctx) ctx.state.add("seen", event.data.n) end
END
cat >/etc/fairlead/conf.d/count.conf <<'END'
subscriber count { from events; run count }
END
start=$(sed -n 's/^ExecStart=//p' /lib/systemd/system/fairlead.service)
begin() {
  (cd /var/lib/fairlead && umask 0077 && exec env -i STATE_DIRECTORY=/var/lib/fairlead CONFIGURATION_DIRECTORY=/etc/fairlead \
    setpriv --reuid 64123 --regid 64123 --clear-groups --no-new-privs --bounding-set=-all --inh-caps=-all \
    $start) >>/tmp/test/log 2>&1 &
  pid=$!
  for _ in $(seq 300); do
    [ "$(curl -s -o /dev/null -w '%{http_code}' "http://127.0.0.1:$port/readyz")" = 200 ] && return
    kill -0 "$pid" 2>/dev/null || fail "it ended at its start"
    sleep 0.1
  done
  fail "it did not become ready"
}
end() {
  kill -TERM "$pid"
  code=0; wait "$pid" || code=$?
  pid=
  [ "$code" = 0 ] || fail "it ended with $code"
}
ask() { fairlead "$@" --config /etc/fairlead/routes.conf; }

begin
[ "$(stat -c %u "/proc/$pid")" = 64123 ] || fail "it does not run as its own user"
grep -q '^CapBnd:[[:space:]]*0*$' "/proc/$pid/status" || fail "it has capabilities"
printf '{"n":1}\n{"n":2}\n{"n":39}\n' >events.ndjson
ask publish events events.ndjson >/dev/null || fail "publish"
for _ in $(seq 300); do
  seen=$(ask state get count seen 2>/dev/null || true)
  [ "$seen" = 42 ] && break
  sleep 0.1
done
[ "$seen" = 42 ] || fail "the plugin counted '$seen', not 42"
fairlead doctor /etc/fairlead/routes.conf >doctor.log 2>&1 || { cat doctor.log >&2; fail "doctor finds something wrong"; }
ask reload >/dev/null || fail "reload"
end
begin
[ "$(ask state get count seen)" = 42 ] || fail "what was counted did not outlive a restart"
end
say "started as an unprivileged user, published, counted, reloaded, restarted, stopped"

dpkg -r fairlead >/tmp/test/dpkg.log 2>&1 || { cat /tmp/test/dpkg.log >&2; fail "dpkg -r"; }
[ ! -e /usr/bin/fairlead ] || fail "the program is still there"
[ -f /etc/fairlead/routes.conf ] && [ -d /var/lib/fairlead/journal ] || fail "removing took configuration or events"
dpkg -P fairlead >/tmp/test/dpkg.log 2>&1 || { cat /tmp/test/dpkg.log >&2; fail "dpkg -P"; }
[ ! -e /etc/fairlead/routes.conf ] && [ ! -e /var/lib/fairlead ] || fail "purging left configuration or events"
say "removed (configuration and events kept), purged (both gone)"
