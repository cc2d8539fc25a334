// A peer by Go's crypto/tls, for tests/tls/interop.rs: a client that says a line and hears it again, or a server that does so.
//
//	peer client ADDRESS VERSION ROOTS NAME [CHAIN KEY]   connects twice, the second time with what it remembers
//	peer server VERSION CHAIN KEY [ROOTS]                prints its port, and what each connection came to
package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"os"
	"time"
)

func must[T any](value T, err error) T {
	if err != nil {
		fmt.Println("cannot:", err)
		os.Exit(2)
	}
	return value
}

func pool(file string) *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(must(os.ReadFile(file)))
	return pool
}

func version(name string) uint16 {
	if name == "1.2" {
		return tls.VersionTLS12
	}
	return tls.VersionTLS13
}

func client(args []string) {
	config := &tls.Config{RootCAs: pool(args[2]), ServerName: args[3], ClientSessionCache: tls.NewLRUClientSessionCache(4)}
	config.MinVersion, config.MaxVersion = version(args[1]), version(args[1])
	if len(args) > 4 {
		config.Certificates = []tls.Certificate{must(tls.LoadX509KeyPair(args[4], args[5]))}
	}
	for i := 0; i < 2; i++ {
		conn, err := tls.Dial("tcp", args[0], config)
		if err == nil {
			conn.SetDeadline(time.Now().Add(5 * time.Second))
			fmt.Fprintf(conn, "hello\n")
			var line string
			line, err = bufio.NewReader(conn).ReadString('\n')
			fmt.Printf("heard %q, resumed %v\n", line, conn.ConnectionState().DidResume)
			conn.Close()
		}
		if err != nil {
			fmt.Println("refused:", err)
			return
		}
	}
}

func serve(conn *tls.Conn) {
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(5 * time.Second))
	reader := bufio.NewReader(conn)
	line, err := reader.ReadString('\n')
	if err != nil {
		fmt.Println("refused:", err)
		return
	}
	state := conn.ConnectionState()
	fmt.Printf("heard %q, resumed %v, certificates %d\n", line, state.DidResume, len(state.PeerCertificates))
	fmt.Fprint(conn, line)
	// Who closes before the other side has ended may reset it.
	io.Copy(io.Discard, reader)
}

func server(args []string) {
	config := &tls.Config{Certificates: []tls.Certificate{must(tls.LoadX509KeyPair(args[1], args[2]))}}
	config.MinVersion, config.MaxVersion = version(args[0]), version(args[0])
	if len(args) > 3 {
		config.ClientAuth, config.ClientCAs = tls.RequireAndVerifyClientCert, pool(args[3])
	}
	listener := must(net.Listen("tcp", "127.0.0.1:0"))
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	for {
		conn := must(listener.Accept())
		go serve(tls.Server(conn, config))
	}
}

func main() {
	if os.Args[1] == "client" {
		client(os.Args[2:])
	} else {
		server(os.Args[2:])
	}
}
