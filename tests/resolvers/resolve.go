// resolve [-4|-6] NAME...: prints what Go's own resolver returns, in the form of
// tests/cluster/src/resolve.c.
package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"time"
)

func main() {
	network, failed := "ip", 0
	resolver := &net.Resolver{PreferGo: true}
	for _, argument := range os.Args[1:] {
		if argument == "-4" || argument == "-6" {
			network = "ip" + argument[1:]
			continue
		}
		began := time.Now()
		addresses, err := resolver.LookupIP(context.Background(), network, argument)
		fmt.Printf("%s %.1fms", argument, float64(time.Since(began).Microseconds())/1000)
		if err != nil {
			fmt.Printf(" %v\n", err)
			failed++
			continue
		}
		for _, address := range addresses {
			fmt.Printf(" %v", address)
		}
		fmt.Println()
	}
	os.Exit(failed)
}
