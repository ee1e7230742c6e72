// Package api is Fanfare's HTTP beside the WebSockets: what operators ask on the
// admin port, and the pages on the public one. Handlers run on net/http's
// goroutines and only read what other packages publish for any goroutine.
package api
