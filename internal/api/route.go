package api

import (
	"net/url"
	"slices"
	"strings"

	"github.com/fanfare-ws/fanfare/internal/auth"
	"github.com/fanfare-ws/fanfare/internal/metrics"
	"github.com/fanfare-ws/fanfare/internal/protocol"
)

// call is one method of a resource.
type call struct {
	method string
	is     metrics.HTTPCall
	may    func(a *API, k *auth.Key, room string) bool
	answer func(x *exchange) *problem
}

// resource is what a path names.
type resource struct {
	path  string // as the OpenAPI document has it
	name  func(x *exchange) *problem
	calls []call
}

// The resources. HEAD is GET without the answer's body.
var (
	atRooms = &resource{path: "/v1/rooms", calls: []call{
		{"GET", metrics.HTTPRooms, holder(auth.AllowRead), (*exchange).rooms},
	}}
	atRoom = &resource{path: "/v1/rooms/{room}", name: (*exchange).roomName, calls: []call{
		{"GET", metrics.HTTPRoom, verb(auth.Join), (*exchange).room},
	}}
	atRoomMessages = &resource{path: "/v1/rooms/{room}/messages", name: (*exchange).roomName, calls: []call{
		{"POST", metrics.HTTPPublish, verb(auth.Publish), (*exchange).publish},
		{"GET", metrics.HTTPHistory, verb(auth.History), (*exchange).history},
		{"DELETE", metrics.HTTPForget, holder(auth.AllowAdmin), (*exchange).forget},
	}}
	atRoomMembers = &resource{path: "/v1/rooms/{room}/members", name: (*exchange).roomName, calls: []call{
		{"GET", metrics.HTTPMembers, verb(auth.Members), (*exchange).members},
	}}
	atMessages = &resource{path: "/v1/messages", calls: []call{
		{"POST", metrics.HTTPPublishMany, holder(auth.AllowPublish), (*exchange).publishMany},
	}}
	atUserConnections = &resource{path: "/v1/users/{user}/connections", name: (*exchange).userName, calls: []call{
		{"DELETE", metrics.HTTPDisconnect, holder(auth.AllowAdmin), (*exchange).disconnect},
	}}
	atGateways = &resource{path: "/v1/gateways", calls: []call{
		{"GET", metrics.HTTPGateways, holder(auth.AllowAdmin), (*exchange).gateways},
	}}
	atFleet = &resource{path: "/v1/fleet", calls: []call{
		{"GET", metrics.HTTPFleet, holder(auth.AllowAdmin), (*exchange).fleet},
	}}
	atRevocations = &resource{path: "/v1/revocations", calls: []call{
		{"POST", metrics.HTTPRevoke, holder(auth.AllowAdmin), (*exchange).revoke},
		{"GET", metrics.HTTPRevocations, holder(auth.AllowAdmin), (*exchange).revocations},
	}}
)

// resources are all of them.
var resources = []*resource{
	atRooms, atRoom, atRoomMessages, atRoomMembers, atMessages, atUserConnections, atGateways, atFleet, atRevocations,
}

// verb allows what the one decision about rooms allows.
func verb(v auth.Verb) func(*API, *auth.Key, string) bool {
	return func(a *API, k *auth.Key, room string) bool {
		return auth.Allowed(auth.Caller{Key: k}, v, room, a.cfg.Gateway.Rules(room))
	}
}

// holder allows what is of no room, and what clients cannot do at all.
func holder(allow auth.Allow) func(*API, *auth.Key, string) bool {
	return func(_ *API, k *auth.Key, _ string) bool { return k.Allow.Has(allow) }
}

// find returns the resource of a path and the name in it, nil for none. A name is
// what stands before the last of /messages, /members or /connections that is
// written out: names have slashes, which may stand as they are. %2F is a slash of
// the name in any case, so that a/messages is a%2Fmessages where it would be
// taken for the messages of a. Nothing is made of . and .. and //, which are
// names too.
func find(u *url.URL) (r *resource, name string) {
	if u.RawPath == "" { // what was escaped is no slash
		return split(u.Path)
	}
	if r, name = split(u.RawPath); r == nil {
		return nil, ""
	}
	name, err := url.PathUnescape(name)
	if err != nil {
		return nil, ""
	}
	return r, name
}

func split(path string) (r *resource, name string) {
	if rest, ok := strings.CutPrefix(path, "/v1/rooms/"); ok {
		if name, ok := strings.CutSuffix(rest, "/messages"); ok {
			return atRoomMessages, name
		}
		if name, ok := strings.CutSuffix(rest, "/members"); ok {
			return atRoomMembers, name
		}
		return atRoom, rest
	}
	if rest, ok := strings.CutPrefix(path, "/v1/users/"); ok {
		if name, ok := strings.CutSuffix(rest, "/connections"); ok {
			return atUserConnections, name
		}
		return nil, ""
	}
	switch path {
	case atRooms.path:
		return atRooms, ""
	case atMessages.path:
		return atMessages, ""
	case atGateways.path:
		return atGateways, ""
	case atFleet.path:
		return atFleet, ""
	case atRevocations.path:
		return atRevocations, ""
	}
	return nil, ""
}

// call is the resource's call of a method, nil for none.
func (r *resource) call(method string) *call {
	if method == "HEAD" {
		method = "GET"
	}
	i := slices.IndexFunc(r.calls, func(c call) bool { return c.method == method })
	if i < 0 {
		return nil
	}
	return &r.calls[i]
}

// allow is the value of an Allow header.
func (r *resource) allow() string {
	var methods []string
	for _, c := range r.calls {
		methods = append(methods, c.method)
		if c.method == "GET" {
			methods = append(methods, "HEAD")
		}
	}
	return strings.Join(methods, ", ")
}

func (x *exchange) roomName() *problem {
	if !protocol.ValidRoom(x.name) {
		return invalid("room", "1 to 128 characters of A-Z a-z 0-9 _ - . : @ /")
	}
	return nil
}

func (x *exchange) userName() *problem {
	name, ok := protocol.NormalizeUser(x.name)
	if !ok {
		return invalid("user", "1 to 64 letters, digits and _ - . @")
	}
	x.name = name
	return nil
}
