package graphsim

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// driveHosts are, beside Graph and login of its cloud, public hosts that the proxy answers as, in every cloud:
// download and upload URLs of drives are on the tenant's own SharePoint host, those of attachments on Outlook's.
const driveHosts = ".sharepoint.com"

var outlookHosts = []string{"outlook.office.com", "outlook.office365.com"}

// answersAs reports whether the proxy stands for a host.
func (h hosts) answersAs(host string) bool {
	label, ok := strings.CutSuffix(host, driveHosts)
	return host == h.graph || slices.Contains(h.logins, host) || slices.Contains(outlookHosts, host) ||
		ok && label != "" && !strings.Contains(label, ".")
}

// connectProxy is an HTTP proxy that knows CONNECT to the hosts of Microsoft 365
// only, and answers in their place over TLS, with certificates of an authority
// that lives as long as the simulator. A client that was made for Microsoft needs
// only HTTPS_PROXY and the authority's certificate to speak to the simulator.
type connectProxy struct {
	as        hosts
	authority []byte // PEM
	tunnels   *tunnels
}

// startProxy listens for CONNECT and serves what comes through the tunnels.
func (s *Server) startProxy(addr string) error {
	if err := checkLoopback(addr); err != nil {
		return fmt.Errorf("proxy: %w", err)
	}
	authority, leaf, err := s.o.Cloud.hosts().newAuthority(time.Now())
	if err != nil {
		return fmt.Errorf("proxy: make certificates: %w", err)
	}
	p := &connectProxy{as: s.o.Cloud.hosts(), authority: authority, tunnels: &tunnels{conns: make(chan net.Conn), closed: make(chan struct{})}}
	// Without HTTP/2, because faults cut connections, which must then carry one request.
	config := &tls.Config{Certificates: []tls.Certificate{leaf}, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}
	s.serveListener(tls.NewListener(p.tunnels, config), http.HandlerFunc(s.serveProxied))
	s.proxyAddr, err = s.serve(addr, p)
	s.proxy = p
	return err
}

// ProxyURL is what a foreign client is given as HTTPS_PROXY; "" without
// Options.ProxyAddr.
func (s *Server) ProxyURL() string {
	if s.proxy == nil {
		return ""
	}
	return "http://" + s.proxyAddr
}

// CertificateAuthority is the PEM certificate that clients of the proxy have to
// trust; nil without Options.ProxyAddr. Its key never leaves memory, and it can
// vouch for the hosts of Microsoft 365 only.
func (s *Server) CertificateAuthority() []byte {
	if s.proxy == nil {
		return nil
	}
	return s.proxy.authority
}

// throughProxy marks the context of a request that came through the proxy.
type throughProxy struct{}

// lenient reports whether a request may do what works in the field only.
func (s *Server) lenient(r *http.Request) bool {
	return s.o.Lenient || !s.o.StrictProxy && r.Context().Value(throughProxy{}) != nil
}

// serveProxied answers a request that was meant for Microsoft.
func (s *Server) serveProxied(w http.ResponseWriter, r *http.Request) {
	r = r.WithContext(context.WithValue(r.Context(), throughProxy{}, true))
	as := s.o.Cloud.hosts()
	switch host := hostname(r.Host); {
	case host == as.graph:
		s.serveFront(w, r)
	case slices.Contains(as.logins, host):
		s.serveLogin(w, r)
	case as.answersAs(host):
		s.serveFiles(w, r)
	default: // the tunnel was made to another host than the request names
		http.Error(w, "the simulator does not answer as "+host, http.StatusMisdirectedRequest)
	}
}

func hostname(hostport string) string {
	if host, _, err := net.SplitHostPort(hostport); err == nil {
		hostport = host
	}
	return strings.ToLower(hostport)
}

// ServeHTTP takes CONNECT and hands the connection to the TLS server.
func (p *connectProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	host, port, err := net.SplitHostPort(r.Host)
	switch {
	case r.Method != http.MethodConnect:
		http.Error(w, "this proxy knows CONNECT only", http.StatusMethodNotAllowed)
		return
	case err != nil || port != "443" || !p.as.answersAs(strings.ToLower(host)):
		http.Error(w, "this proxy leads to a simulated Microsoft 365 and nowhere else", http.StatusForbidden)
		return
	}
	hijacker, ok := w.(http.Hijacker)
	if !ok {
		http.Error(w, "the connection cannot be taken over", http.StatusInternalServerError)
		return
	}
	conn, buffered, err := hijacker.Hijack()
	if err != nil {
		return // the client has gone
	}
	// The server's deadline for reading the head must not end the tunnel.
	if conn.SetDeadline(time.Time{}) != nil || writeAll(conn, "HTTP/1.1 200 Connection established\r\n\r\n") != nil {
		_ = conn.Close()
		return
	}
	p.tunnels.hand(&tunnel{Conn: conn, buffered: buffered.Reader})
}

func writeAll(conn net.Conn, text string) error {
	_, err := conn.Write([]byte(text))
	return err
}

// tunnel is a connection after CONNECT. A client may have sent more already than
// the head, which lies in the buffer.
type tunnel struct {
	net.Conn
	buffered *bufio.Reader
}

func (t *tunnel) Read(p []byte) (int, error) { return t.buffered.Read(p) }

// NetConn is the connection below, as tls.Conn names it.
func (t *tunnel) NetConn() net.Conn { return t.Conn }

// tunnels is a listener whose connections are those the proxy hands it.
type tunnels struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *tunnels) hand(conn net.Conn) {
	select {
	case l.conns <- conn:
	case <-l.closed:
		_ = conn.Close()
	}
}

// Accept implements net.Listener.
func (l *tunnels) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (l *tunnels) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// Addr implements net.Listener.
func (l *tunnels) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

// newAuthority makes an authority and one certificate for every host. Name
// constraints keep it from vouching for anything else, should the file with its
// certificate stay in a client's trust store.
func (h hosts) newAuthority(now time.Time) (authority []byte, leaf tls.Certificate, err error) {
	own := append(append([]string{h.graph}, h.logins...), outlookHosts...)
	names, domains := append([]string{"*" + driveHosts}, own...), append([]string{driveHosts[1:]}, own...)
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, tls.Certificate{}, err
	}
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: "graphsim, not Microsoft"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(0, 1, 0), IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign, PermittedDNSDomainsCritical: true, PermittedDNSDomains: domains,
	}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, &caKey.PublicKey, caKey)
	if err != nil {
		return nil, tls.Certificate{}, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, tls.Certificate{}, err
	}
	server := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano() + 1), Subject: pkix.Name{CommonName: h.graph}, DNSNames: names,
		NotBefore: ca.NotBefore, NotAfter: ca.NotAfter, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, server, ca, &key.PublicKey, caKey)
	if err != nil {
		return nil, tls.Certificate{}, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER}),
		tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// origin is the root of a request as the client wrote it: scheme and host.
func origin(r *http.Request) string {
	if r.TLS != nil {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}
