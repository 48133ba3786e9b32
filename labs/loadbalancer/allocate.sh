# Gives addresses to Services of one class, as a cloud's load balancer would.
#
#   CLASS      the loadBalancerClass it serves; it never touches another Service
#   POOL       the addresses it may give, with blanks between them
#   CONDITION  under which type it says in a Service's status what it did
#
# All it knows it reads from the Services themselves: an address is free when no Service has it. So
# there is nothing to give back, and it may be stopped and started at any time.

# One line for each Service of the class, the oldest first: name|address|reason.
services() {
  class="range .items[?(@.spec.loadBalancerClass=='$CLASS')]"
  address=".status.loadBalancer.ingress[0].ip"
  reason=".status.conditions[?(@.type=='$CONDITION')].reason"
  kubectl get services --sort-by=.metadata.creationTimestamp \
    -o jsonpath="{$class}{.metadata.name}|{$address}|{$reason}{\"\\n\"}{end}"
}

# Writes a Service's status: name, ingress, True or False, reason, message.
tell() {
  now=$(date -u +%Y-%m-%dT%H:%M:%SZ)
  kubectl patch service "$1" --subresource=status -p "{\"status\": {
    \"loadBalancer\": {\"ingress\": $2},
    \"conditions\": [{\"type\": \"$CONDITION\", \"status\": \"$3\", \"reason\": \"$4\",
                      \"message\": \"$5\", \"lastTransitionTime\": \"$now\"}]}}"
}

# Gives every Service without an address the first that is free.
allocate() {
  found=$(services) || return
  held=" $(echo "$found" | cut -d '|' -f 2 | tr '\n' ' ') "
  echo "$found" | while IFS='|' read -r name address reason; do
    [ -n "$name" ] && [ -z "$address" ] || continue
    for free in $POOL none; do
      case $held in *" $free "*) ;; *) break ;; esac
    done
    if [ "$free" != none ]; then
      held="$held$free "
      tell "$name" "[{\"ip\": \"$free\"}]" True Given "$free is its own until it is deleted"
    elif [ "$reason" != NoneLeft ]; then
      tell "$name" '[]' False NoneLeft "other Services have all of: $POOL"
    fi
  done
}

# A watch begins with one ADDED for each Service there is: so nothing is missed between two of them,
# and what has failed is tried again with the next one, a minute later at most.
while :; do
  timeout 60 kubectl get services --watch --output-watch-events \
    -o jsonpath='{.type} {.object.spec.loadBalancerClass}{"\n"}' |
    while read -r event class; do
      case "$event $class" in
        "ADDED $CLASS" | MODIFIED* | DELETED*) allocate ;;
      esac
    done
  sleep 1
done
