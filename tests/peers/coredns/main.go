// The real CoreDNS with its default plugins, built from its Go module: Signpost's answers and speed
// are compared with it.
package main

import (
	_ "github.com/coredns/coredns/core/plugin" // every default plugin, in the order of plugin.cfg
	"github.com/coredns/coredns/coremain"
)

func main() { coremain.Run() }
