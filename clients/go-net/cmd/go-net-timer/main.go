// Listens to a timer server with a plain net.Conn; what it reads and prints: CONTRACT.md.
package main

import (
	"bufio"
	"errors"
	"io"
	"net"

	"go-net/contract"
)

func main() {
	contract.Run(func(connection net.Conn) error {
		lines := bufio.NewReader(connection)
		for first := true; ; first = false {
			if err := contract.Reading(connection); err != nil {
				return err
			}
			line, err := lines.ReadString('\n')
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
			if first {
				contract.Emit("watching", nil)
			}
			contract.Observed(line)
		}
	})
}
