#!/bin/sh
# Prints a Redis ACL file from a template: sh users.sh users.template > users.acl
# #{NAME} becomes the SHA-256 of the variable REDIS_PASSWORD_NAME; a user whose
# variable is not set, or empty, is left out. Comments go, indented lines join the line before.
set -eu
umask 077
awk '/^[ \t]*(#[^{]|#$)/ || /^[ \t]*$/ { next }
     /^[ \t]/ { sub(/^[ \t]+/, ""); line = line " " $0; next }
     { if (line != "") print line; line = $0 }
     END { if (line != "") print line }' "$1" |
  while IFS= read -r line; do
    case $line in
    *'#{'*)
      name=${line#*'#{'}
      name=${name%%'}'*}
      eval "password=\${REDIS_PASSWORD_$name:-}"
      [ -n "$password" ] || continue
      hash=$(printf %s "$password" | sha256sum)
      printf '%s\n' "${line%%'#{'*}#${hash%% *}${line#*'}'}"
      ;;
    *) printf '%s\n' "$line" ;;
    esac
  done
