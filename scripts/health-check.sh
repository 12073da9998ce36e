#!/bin/sh
# For cron: says nothing while all is well, and else what is wrong (cron mails that) with exit status 1.
#
#   */5 * * * * /opt/mcp-oauth-gateway/scripts/health-check.sh
#
# cron's PATH is short.
PATH="$PATH:/usr/local/bin:/usr/bin:/bin:/snap/bin"
cd "$(dirname "$0")/.." || exit 1
if findings=$(python3 scripts/stack/check.py health 2>&1); then exit 0; fi
printf '%s\n' "$findings"
exit 1
