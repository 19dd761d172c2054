// Command checkstyle holds the rules of the house that no ready-made linter knows: file lengths,
// package comments, package names, and things that must not appear at all.
//
// It reads the source tree and changes nothing. `make lint` runs it.
package main

import (
	"fmt"
	"os"
)

func main() {
	root := "."
	if len(os.Args) > 1 {
		root = os.Args[1]
	}
	problems, err := Check(root)
	if err != nil {
		fmt.Fprintln(os.Stderr, "checkstyle:", err)
		os.Exit(2)
	}
	for _, p := range problems {
		fmt.Println(p)
	}
	if len(problems) > 0 {
		fmt.Fprintf(os.Stderr, "checkstyle: %d problems\n", len(problems))
		os.Exit(1)
	}
}
