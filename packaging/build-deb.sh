#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# build-deb.sh PROGRAM FOLDER: makes FOLDER/fairlead_VERSION_ARCHITECTURE.deb of a program that carries the Swift runtime.
# Its dependencies are what it is linked with, as dpkg-shlibdeps knows them.
set -euo pipefail
program=$(realpath "$1")
mkdir -p "$2"
out=$(realpath "$2")
here=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git -C "$here" log -1 --format=%ct 2>/dev/null || date +%s)}
umask 022

version=$("$program" --version)
architecture=$(dpkg --print-architecture)
ZSH_FOLDER=zsh/vendor-completions "$here/packaging/install.sh" "$program" "$root" /usr
strip --strip-unneeded --remove-section=.comment "$root/usr/bin/fairlead"

install -Dm644 "$here/packaging/fairlead.service" "$root/lib/systemd/system/fairlead.service"
install -Dm644 "$here/packaging/routes.conf" "$root/etc/fairlead/routes.conf"
install -Dm600 "$here/packaging/default" "$root/etc/default/fairlead"
install -d "$root/etc/fairlead/conf.d" "$root/etc/fairlead/Plugins"
doc=$root/usr/share/doc/fairlead
gzip -9n <"$here/CHANGELOG.md" >"$doc/changelog.gz"
cat >"$doc/copyright" <<END
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: fairlead

Files: *
Copyright: the Fairlead authors
License: Apache-2.0
 On Debian systems the text is in /usr/share/common-licenses/Apache-2.0.
END

mkdir -p "$work/debian" "$root/DEBIAN"
printf 'Source: fairlead\n\nPackage: fairlead\nArchitecture: any\n' >"$work/debian/control"
depends=$(cd "$work" && dpkg-shlibdeps -O "$root/usr/bin/fairlead" 2>"$work/warnings" | sed -n 's/^shlibs:Depends=//p')
if [ -z "$depends" ]; then cat "$work/warnings" >&2; exit 1; fi
cat >"$root/DEBIAN/control" <<END
Package: fairlead
Version: $version-1
Architecture: $architecture
Maintainer: the Fairlead authors <fairlead@localhost>
Installed-Size: $(du -sk --exclude=DEBIAN "$root" | cut -f1)
Depends: $depends, ca-certificates
Recommends: systemd (>= 247)
Section: net
Priority: optional
Description: event router with Lua plugins
 Publishers send events (CloudEvents over HTTP) to topics that are kept on disk.
 routes.conf says who gets which: Lua scripts, HTTP endpoints that are pushed
 to, or clients that pull. Retries, dead letters that can be mended and sent
 again, replays, and reloads that take over all of a change or nothing.
END
(cd "$root" && find etc -type f | sed 's|^|/|' | sort) >"$root/DEBIAN/conffiles"
for script in postinst prerm postrm; do install -m755 "$here/packaging/$script" "$root/DEBIAN/$script"; done
(cd "$root" && find usr lib -type f -print0 | sort -z | xargs -0 md5sum) >"$root/DEBIAN/md5sums"
find "$root" -newermt "@$SOURCE_DATE_EPOCH" -print0 | xargs -0r touch -hd "@$SOURCE_DATE_EPOCH"
dpkg-deb --root-owner-group -Zxz --build "$root" "$out/fairlead_$version-1_$architecture.deb" >/dev/null
echo "$out/fairlead_$version-1_$architecture.deb"
