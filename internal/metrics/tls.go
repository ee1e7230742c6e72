package metrics

// TLSError is why a TLS handshake came to nothing.
type TLSError uint8

const (
	TLSProtocol             TLSError = iota // no version, cipher or protocol in common, or malformed
	TLSNoTLS                                // what came is no TLS, such as plain HTTP
	TLSAlert                                // the client said no: it does not know who signed the certificate, most often
	TLSTimeout                              // not complete in time
	TLSClosed                               // the client went
	TLSProxyHeader                          // a trusted proxy's connection without a sound PROXY header
	TLSHandshakes                           // unfinished handshakes in all
	TLSHandshakesPerAddress                 // unfinished handshakes of one address
	TLSDescriptors                          // out of descriptors or of the kernel's memory
	TLSDraining                             // the gateway is going away
	tlsErrors
)

var tlsErrorNames = [tlsErrors]string{
	TLSProtocol: "protocol", TLSNoTLS: "no_tls", TLSAlert: "alert", TLSTimeout: "timeout", TLSClosed: "closed",
	TLSProxyHeader: "proxy_header", TLSHandshakes: "handshakes", TLSHandshakesPerAddress: "handshakes_per_address",
	TLSDescriptors: "descriptors", TLSDraining: "draining",
}

// String is the error's label.
func (e TLSError) String() string { return tlsErrorNames[e] }

// TLS is what is counted of TLS on the public listener. Any goroutine may.
type TLS struct {
	Handshakes Gauge // not complete
	Completed  Counter
	NotAfter   Gauge // Unix seconds, of the certificate in force; 0: there is none
	errors     [tlsErrors]Counter
}

// Errors is how many handshakes came to nothing for this reason.
func (t *TLS) Errors(e TLSError) uint64 { return t.errors[e].Value() }

// Failed counts a handshake that came to nothing.
func (t *TLS) Failed(e TLSError) { t.errors[e].Inc() }
