package faulttest

import "time"

// faults is the table: what is broken, and on what. The short set stands for each
// kind of server, of fault and of repair.
var faults = []fault{
	{name: "memory/gateway-sigstop", backend: memory, gateways: 1, inject: freeze(4*time.Second, 6*time.Second)},
	{name: "memory/gateway-sigterm", loses: true, backend: memory, gateways: 1, inject: drainGateway},
	{name: "memory/slow-readers", backend: memory, gateways: 1, short: true, inject: slowReaders},
	{name: "memory/resets", backend: memory, gateways: 1, inject: resets},

	{name: "redis/sigkill-with-data", backend: single, gateways: 3, inject: killRedis(true)},
	{name: "redis/sigkill-without-data", loses: true, backend: single, gateways: 3, short: true, inject: killRedis(false)},
	{name: "redis/sigstop", backend: single, gateways: 3, inject: freezeRedis},
	{name: "redis/slow", backend: single, gateways: 3, inject: slowRedis},
	{name: "redis/black-hole", backend: single, gateways: 3, short: true, inject: holeBefore},
	{name: "redis/flushall", loses: true, backend: single, gateways: 3, inject: flushAll},
	{name: "redis/kill-pubsub", backend: single, gateways: 3, inject: killSubscribers},
	{name: "redis/output-buffer", backend: single, gateways: 3, inject: overflow},
	{name: "redis/script-flush", backend: single, gateways: 3, inject: flushScripts},
	{name: "redis/oom", backend: single, gateways: 3, inject: outOfMemory},
	{name: "redis/readonly", backend: single, gateways: 3, inject: readOnly},
	{name: "redis/relay-loss", backend: single, gateways: 3, short: true, inject: loseSome},
	{name: "redis/late-answers", backend: single, gateways: 3, inject: lateAnswers},
	{name: "redis/junk", loses: true, spoils: true, backend: single, gateways: 3, inject: junk},
	{name: "redis/down-at-start", backend: single, gateways: 3, inject: downAtStart},

	{name: "sentinel/failover", loses: true, backend: sentinel, gateways: 3, inject: failover},
	{name: "sentinel/failover-lagging", loses: true, backend: sentinel, gateways: 3, short: true, inject: lagThenFailover},
	{name: "sentinel/failover-unseen", loses: true, backend: sentinel, gateways: 3, inject: unseenThenFailover},
	{name: "sentinel/frozen-master", loses: true, backend: sentinel, gateways: 3, inject: frozenMaster},

	{name: "cluster/sigkill", loses: true, backend: cluster6, gateways: 3, short: true, inject: killNode},
	{name: "cluster/failover", backend: cluster6, gateways: 3, inject: askedFailover},
	{name: "cluster/slots-moved", backend: cluster3, gateways: 3, inject: moveSlots},

	{name: "gateway/sigkill", backend: single, gateways: 3, short: true, inject: killGateway},
	{name: "gateway/sigterm", backend: single, gateways: 3, inject: drainGateway},
	{name: "gateway/sigstop", backend: single, gateways: 3, inject: freeze(30*time.Second, 31*time.Second)},
	{name: "gateway/resets", backend: single, gateways: 3, inject: resets},
	{name: "gateway/slow-readers", backend: single, gateways: 3, inject: slowReaders},
	{name: "haproxy/restart", backend: single, gateways: 3, balancer: true, short: true, inject: restartBalancer},
	{name: "haproxy/gateway-sigstop", backend: single, gateways: 3, balancer: true, inject: freeze(8*time.Second, 12*time.Second)},
}
