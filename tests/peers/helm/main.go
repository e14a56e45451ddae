// Helm 4. Its commands are a package of its module.
package main

import (
	"errors"
	"os"

	"helm.sh/helm/v4/pkg/cmd"
)

func main() {
	root, err := cmd.NewRootCmd(os.Stdout, os.Args[1:], cmd.SetupLogging)
	if err == nil {
		err = root.Execute()
	}
	if err == nil {
		return
	}
	if coded, ok := errors.AsType[cmd.CommandError](err); ok {
		os.Exit(coded.ExitCode)
	}
	os.Exit(1)
}
