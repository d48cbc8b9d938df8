#!/bin/sh
# A program of another language as an agent: `sh perl_agent.sh PORT`.
# It is registered once it takes connections, and leaves when it ends.
here=$(dirname "$0")
PATH=$PATH:$here/../.venv/bin
exec agent-registry run --id "perl-$1" --name Perl --host 127.0.0.1 --port "$1" \
    --ready-port "$1" -- perl "$here/perl_agent.pl" "$1"
