#!/bin/sh
# An agent with curl alone: `sh shell_agent.sh PORT`. What a client must do stands in
# docs/protocol.md: register, beat, register again when told so, leave.
registry=${AGENT_REGISTRY_URL:-http://127.0.0.1:8790}
port=$1
id=shell-$port

call() { # prints the status; 000 when nobody answers
    curl --silent --max-time 5 --output /dev/null --write-out '%{http_code}' "$@"
}

register() {
    call "$registry/agents/register" --header 'Content-Type: application/json' --data "{
        \"agent_id\": \"$id\", \"agent_name\": \"Shell\",
        \"host\": \"127.0.0.1\", \"port\": $port, \"ttl_seconds\": 6}"
}

leave() {
    call --request DELETE "$registry/agents/$id" >/dev/null
    exit 0
}

trap leave INT TERM
register >/dev/null
while :; do
    sleep 2 & # a third of the TTL, so that two beats may be lost
    wait $! # unlike a plain sleep, ended by a signal at once
    # 404: the registry does not know us, as after it lost its database.
    [ "$(call --request POST "$registry/agents/$id/heartbeat")" = 404 ] && register >/dev/null
done
