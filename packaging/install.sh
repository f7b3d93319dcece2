#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# install.sh PROGRAM ROOT PREFIX: puts the program and all that goes with it below ROOT/PREFIX. Completions and manual
# pages are made by the program itself, so they are those of its version.
set -euo pipefail
program=$1 root=$2 prefix=$3
here=$(cd "$(dirname "$0")/.." && pwd)
share="$root$prefix/share"

install -Dm755 "$program" "$root$prefix/bin/fairlead"

completion() { # SHELL FILE
  mkdir -p "$(dirname "$2")"
  "$program" --generate-completion-script "$1" >"$2"
}
completion bash "$share/bash-completion/completions/fairlead"
completion zsh "$share/${ZSH_FOLDER:-zsh/site-functions}/_fairlead"
completion fish "$share/fish/vendor_completions.d/fairlead.fish"

date=$(date -u -d "@${SOURCE_DATE_EPOCH:-$(date +%s)}" +%F)
mkdir -p "$share/man/man1"
python3 "$here/packaging/man.py" "$program" "$share/man/man1" "$date"
gzip -9nf "$share"/man/man1/*.1

install -Dm644 -t "$share/fairlead" "$here"/docs/observability/{alerts.yml,alerts_test.yml,grafana.json}
for file in $(cd "$here" && find Plugins -type f | sort); do
  install -Dm644 "$here/$file" "$share/fairlead/$file"
done
install -Dm644 "$here/routes.conf" "$share/doc/fairlead/examples/routes.conf"
install -Dm644 -t "$share/doc/fairlead" "$here/README.md" "$here"/docs/*.md
