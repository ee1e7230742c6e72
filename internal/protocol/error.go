package protocol

import "time"

// Code is an error code of PROTOCOL.md section 2.
type Code string

const (
	BadJSON            Code = "bad_json"
	InvalidRequest     Code = "invalid_request"
	UnknownType        Code = "unknown_type"
	UnsupportedVersion Code = "unsupported_version"
	Unauthorized       Code = "unauthorized"
	Forbidden          Code = "forbidden"
	NotJoined          Code = "not_joined"
	LimitExceeded      Code = "limit_exceeded"
	RateLimited        Code = "rate_limited"
	UsernameTaken      Code = "username_taken"
	Unavailable        Code = "unavailable"
	Internal           Code = "internal"
)

// Error is the payload of an error reply. The request it belongs to is not
// part of it: that is [Request.ID], which [Decoder.Decode] sets even when it
// fails, if it could be read.
type Error struct {
	Code       Code
	Message    string        // for people
	Field      string        // the field at fault; dotted inside payload members ("since.seq")
	RetryAfter time.Duration // 0: not said; on the wire in whole milliseconds, rounded up
}

// Error returns code and message.
func (e *Error) Error() string {
	return string(e.Code) + ": " + e.Message
}

// The errors that Decode returns are made once: a client that sends rubbish
// costs no allocation for its answers. They are shared and never modified.
var (
	errJSON        = &Error{Code: BadJSON, Message: "not one JSON object"}
	errDuplicate   = &Error{Code: BadJSON, Message: "a name stands twice in one object"}
	errDepth       = &Error{Code: BadJSON, Message: "nested deeper than 64"}
	errVersion     = &Error{Code: UnsupportedVersion, Message: "this gateway speaks version 1", Field: "version"}
	errUnknownType = &Error{Code: UnknownType, Message: "unknown type", Field: "type"}

	errType       = invalid("type", "a string is required")
	errVersionInt = invalid("version", "an integer")
	errRequestID  = invalid("request_id", "a string of 1 to 64 bytes")
	errPayload    = invalid("payload", "an object")
	errNoPayload  = invalid("payload", "an object is required")
	errRoom       = invalid("room", "1 to 128 characters of A-Z a-z 0-9 _ - . : @ /")
	errSince      = invalid("since", "an object of epoch and seq")
	errSinceEpoch = invalid("since.epoch", "1 to 64 characters of A-Z a-z 0-9 _ -")
	errSinceSeq   = invalid("since.seq", "an integer from 0 to 2^53-1")
	errLast       = invalid("last", "an integer from 0 to 2^53-1")
	errLastSince  = invalid("last", "not together with since")
	errPresence   = invalid("presence", "true or false")
	errData       = invalid("data", "any JSON value is required")
	errEvent      = invalid("event", "a string of 1 to 64 characters, none of them a control character")
	errPublishID  = invalid("id", "a string of 1 to 64 bytes")
	errAfter      = invalid("after", "an integer from 0 to 2^53-1")
	errBefore     = invalid("before", "an integer from 0 to 2^53-1")
	errLimit      = invalid("limit", "an integer from 1 to 1000")
	errCursor     = invalid("cursor", "a string of 1 to 256 bytes")
	errUsername   = invalid("username", "1 to 64 letters, digits and _ - . @")
	errUserKey    = invalid("key", "1 to 64 characters of A-Z a-z 0-9 _ -")
	errToken      = invalid("token", "a string that is not empty")
	errFrom       = invalid("from", "a user's name: 1 to 64 letters, digits and _ - . @")

	errPostDepth = &Error{Code: BadJSON, Message: "nested deeper than 63"}
	errPosts     = &Error{Code: InvalidRequest, Message: "a list of messages is required"}
	errPost      = &Error{Code: InvalidRequest, Message: "each message is an object of room, data and what may stand beside it"}
	errPostCount = &Error{Code: LimitExceeded, Message: "too many messages in one call"}
)

func invalid(field, rule string) *Error {
	return &Error{Code: InvalidRequest, Message: field + ": " + rule, Field: field}
}
