package metrics

// CloseReason says why a connection ended. Each reason belongs to one side.
type CloseReason uint8

// The reasons. Those of the client's side are what its close frame or its
// socket said; those of the gateway's side are its own decisions.
const (
	CloseNormal       CloseReason = iota // client: 1000
	CloseGoingAway                       // client: 1001
	CloseOther                           // client: any other code, or none
	CloseEOF                             // client: the socket ended without a close frame
	CloseReset                           // network: reset, or a read or write error
	CloseProtocol                        // gateway: 1002
	CloseUnsupported                     // gateway: 1003
	CloseInvalidUTF8                     // gateway: 1007
	CloseTooBig                          // gateway: 1009
	CloseSlowMessage                     // gateway: 1008, a message not complete in time
	CloseHeartbeat                       // gateway: 4002, nothing arrived or nothing was taken in time
	CloseSlowConsumer                    // gateway: 4003, by the room's policy
	CloseReplies                         // gateway: 4003, its own replies were not read
	CloseQueuedBytes                     // gateway: 1013, the limit of bytes queued in all
	CloseMemory                          // gateway: 1013, the limit of memory
	CloseRateLimit                       // gateway: 4004
	CloseDrain                           // gateway: 1012
	CloseRebalance                       // gateway: 1012, more than the fleet's mean
	CloseAge                             // gateway: 1012, older than connections may be
	CloseShutdown                        // gateway: 1001, left over at the end of a drain
	CloseInternal                        // gateway: 1011, a fault of ours
	CloseTokenExpired                    // gateway: 4001
	CloseTokenRevoked                    // gateway: 4001
	CloseOperator                        // gateway: 4005, a backend asked for it
	closeReasons
)

var closeNames = [closeReasons]struct{ side, reason string }{
	CloseNormal:       {"client", "normal"},
	CloseGoingAway:    {"client", "going_away"},
	CloseOther:        {"client", "other"},
	CloseEOF:          {"client", "eof"},
	CloseReset:        {"network", "reset"},
	CloseProtocol:     {"gateway", "protocol_error"},
	CloseUnsupported:  {"gateway", "unsupported_data"},
	CloseInvalidUTF8:  {"gateway", "invalid_utf8"},
	CloseTooBig:       {"gateway", "too_big"},
	CloseSlowMessage:  {"gateway", "slow_message"},
	CloseHeartbeat:    {"gateway", "heartbeat_timeout"},
	CloseSlowConsumer: {"gateway", "slow_consumer"},
	CloseReplies:      {"gateway", "replies_unread"},
	CloseQueuedBytes:  {"gateway", "queued_bytes"},
	CloseMemory:       {"gateway", "memory"},
	CloseRateLimit:    {"gateway", "rate_limit"},
	CloseDrain:        {"gateway", "drain"},
	CloseRebalance:    {"gateway", "rebalance"},
	CloseAge:          {"gateway", "age"},
	CloseShutdown:     {"gateway", "shutdown"},
	CloseInternal:     {"gateway", "internal"},
	CloseTokenExpired: {"gateway", "token_expired"},
	CloseTokenRevoked: {"gateway", "token_revoked"},
	CloseOperator:     {"gateway", "operator"},
}

// String is the reason's label.
func (r CloseReason) String() string { return closeNames[r].reason }

// Side is who ended the connection: client, network or gateway.
func (r CloseReason) Side() string { return closeNames[r].side }

// HeartbeatKind says what a heartbeat timeout was.
type HeartbeatKind uint8

const (
	HeartbeatSilent HeartbeatKind = iota // nothing arrived for the timeout
	HeartbeatWrite                       // the socket took nothing for the timeout
	HeartbeatTCP                         // the kernel gave up on unacknowledged data (TCP_USER_TIMEOUT)
	heartbeatKinds
)

var heartbeatNames = [heartbeatKinds]string{"silent", "write", "tcp"}

// Stage says where on a message's way frames were dropped.
type Stage uint8

const (
	StageQueue Stage = iota // a member fell behind its window
	StageLog                // a member's next frames were gone from the log
	stages
)

var stageNames = [stages]string{"queue", "log"}

// Policy is what a room does with a slow member.
type Policy uint8

const (
	PolicyDrop Policy = iota
	PolicyConflate
	PolicyDisconnect
	policies
)

var policyNames = [policies]string{"drop", "conflate", "disconnect"}

// PublishResult is how a publish ended.
type PublishResult uint8

const (
	PublishStored PublishResult = iota
	PublishDuplicate
	PublishUnavailable
	publishResults
)

var publishNames = [publishResults]string{"stored", "duplicate", "unavailable"}

// TokenRefusal is why a token does not verify.
type TokenRefusal uint8

const (
	TokenTooLong    TokenRefusal = iota
	TokenMalformed               // not three parts of base64url, or a header that is not one JSON object
	TokenAlgorithm               // not that of a configured key
	TokenUnknownKey              // names a key that is not configured
	TokenSignature
	TokenExpired
	TokenNotYet   // nbf or iat is ahead
	TokenIssuer   // iss is missing or another
	TokenAudience // aud is missing or another
	TokenClaims   // claims of a wrong shape, or required and missing
	TokenRevoked
	tokenRefusals
)

var tokenRefusalNames = [tokenRefusals]string{
	"too_long", "malformed", "algorithm", "unknown_key", "signature", "expired", "not_yet", "issuer", "audience", "claims", "revoked",
}

// String is the reason's label.
func (r TokenRefusal) String() string { return tokenRefusalNames[r] }

// JWKSRefresh is how fetching the keys of an issuer ended.
type JWKSRefresh uint8

const (
	JWKSRefreshed JWKSRefresh = iota
	JWKSFailed                // those before are kept
	jwksRefreshes
)

var jwksRefreshNames = [jwksRefreshes]string{"ok", "failed"}

// ConfigReload is how a reload of the configuration ended.
type ConfigReload uint8

const (
	ReloadApplied ConfigReload = iota
	ReloadUnchanged
	ReloadFailed // what was in force before still is
	configReloads
)

var configReloadNames = [configReloads]string{"applied", "unchanged", "failed"}

// String is the result's label.
func (r ConfigReload) String() string { return configReloadNames[r] }

// Limit is a limit that something was refused by, or ended.
type Limit uint8

// The limits, by whose they are.
const (
	LimitConnections        Limit = iota // of the gateway
	LimitQueuedBytes                     // of the gateway
	LimitMemory                          // of the gateway
	LimitConnectionMessages              // of one connection
	LimitConnectionBytes
	LimitConnectionRooms
	LimitConnectionHistory
	LimitUserConnects // of one user
	LimitUserMessages
	LimitUserBytes
	LimitUserHistory
	LimitUserConnections
	LimitUserRooms
	LimitAddressConnects // of one address
	LimitAddressMessages
	LimitAddressBytes
	LimitAddressHistory
	LimitAddressConnections
	LimitAddressRooms
	LimitRoomMessages // of one room
	LimitRoomMembers
	limits
)

var limitNames = [limits]string{
	"connections", "queued_bytes", "memory",
	"connection_messages", "connection_bytes", "connection_rooms", "connection_history",
	"user_connects", "user_messages", "user_bytes", "user_history", "user_connections", "user_rooms",
	"address_connects", "address_messages", "address_bytes", "address_history", "address_connections", "address_rooms",
	"room_messages", "room_members",
}

// String is the limit's label.
func (l Limit) String() string { return limitNames[l] }

// AcceptError is why a connection could not be accepted.
type AcceptError uint8

const (
	AcceptDescriptors AcceptError = iota // out of descriptors: EMFILE, ENFILE
	AcceptMemory                         // ENOBUFS, ENOMEM
	AcceptOther
	acceptErrors
)

var acceptNames = [acceptErrors]string{"descriptors", "memory", "other"}

// rejectNames are the reasons for which a handshake is refused: the Reason of a
// frame.Refusal, or what a loop or a session decides before the upgrade. What
// is not here counts as other.
var rejectNames = []string{
	"bad_request", "head_too_large", "too_many_headers", "body", "version", "key", "method", "proxy_header",
	"timeout", "closed", "handshakes", "handshakes_per_address", "connections", "queued_bytes",
	"origin", "origin_missing", "query", "path", "token", "token_missing", "tokens", "draining", "not_ready", "accept_rate", "memory",
	"user_connects", "user_connections", "address_connects", "address_connections", "other",
}

var rejectIndex = indexOf(rejectNames)

// errorNames are the codes of error replies (section 2 of the protocol).
var errorNames = []string{
	"bad_json", "invalid_request", "unknown_type", "unsupported_version", "unauthorized", "forbidden",
	"not_joined", "limit_exceeded", "rate_limited", "username_taken", "unavailable", "internal",
}

var errorIndex = indexOf(errorNames)

func indexOf(names []string) map[string]int {
	m := make(map[string]int, len(names))
	for i, n := range names {
		m[n] = i
	}
	return m
}

// HTTPCall is a call of the HTTP API.
type HTTPCall uint8

// The calls, each of one method and path.
const (
	HTTPPublish HTTPCall = iota
	HTTPPublishMany
	HTTPRooms
	HTTPRoom
	HTTPHistory
	HTTPMembers
	HTTPForget
	HTTPDisconnect
	HTTPGateways
	HTTPFleet
	HTTPRevoke
	HTTPRevocations
	HTTPNone // no call has that path, or not with that method
	httpCalls
)

var httpCallNames = [httpCalls]string{
	"publish", "publish_many", "rooms", "room", "history", "members", "forget", "disconnect", "gateways", "fleet", "revoke", "revocations", "none",
}

// String is the call's label.
func (c HTTPCall) String() string { return httpCallNames[c] }

// statusClasses are the classes of the status codes that are answered.
var statusClasses = [...]string{"2xx", "4xx", "5xx"}

func statusClass(status int) int {
	switch {
	case status < 400:
		return 0
	case status < 500:
		return 1
	}
	return 2
}
