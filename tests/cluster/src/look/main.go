// look SECONDS THREADS PAUSE_MS NAME=ADDRESS...: does what look.c does, with Go's own resolver.
package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

var looked, failed, late, longest, told atomic.Int64

func lookUp(name, address string) string {
	resolver := net.Resolver{PreferGo: true}
	found, err := resolver.LookupIPAddr(context.Background(), name)
	if err != nil {
		return err.Error()
	}
	for _, a := range found {
		if a.String() == address {
			return ""
		}
	}
	return "without the address"
}

func looker(first int, pairs []string, pause time.Duration, ended <-chan struct{}) {
	for i := first; ; i++ {
		select {
		case <-ended:
			return
		case <-time.After(pause):
		}
		name, address, _ := strings.Cut(pairs[i%len(pairs)], "=")
		start := time.Now()
		problem := lookUp(name, address)
		took := time.Since(start)
		for was := longest.Load(); int64(took) > was && !longest.CompareAndSwap(was, int64(took)); was = longest.Load() {
		}
		looked.Add(1)
		if problem != "" {
			failed.Add(1)
		}
		if took >= time.Second {
			late.Add(1)
		}
		if (problem != "" || took >= time.Second) && told.Add(1) <= 20 {
			if problem == "" {
				problem = "answered"
			}
			fmt.Printf("%s %s: %s after %.3f s\n", start.UTC().Format("15:04:05"), name, problem, took.Seconds())
		}
	}
}

func main() {
	if len(os.Args) < 5 {
		os.Exit(2)
	}
	seconds, _ := strconv.Atoi(os.Args[1])
	threads, _ := strconv.Atoi(os.Args[2])
	pause, _ := strconv.Atoi(os.Args[3])
	stop, ended := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		select {
		case <-stop:
		case <-time.After(time.Duration(seconds) * time.Second):
		}
		close(ended)
	}()
	var all sync.WaitGroup
	for i := range threads {
		all.Add(1)
		go func() {
			defer all.Done()
			looker(i, os.Args[4:], time.Duration(pause)*time.Millisecond, ended)
		}()
	}
	all.Wait()
	fmt.Println(looked.Load(), failed.Load(), late.Load(), longest.Load()/int64(time.Millisecond))
	if failed.Load() > 0 {
		os.Exit(1)
	}
}
