// Talks to an echo server with a plain net.Conn, a line every so many seconds; what it reads and prints: CONTRACT.md.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"go-net/contract"
)

func main() {
	contract.Run(func(connection net.Conn) error {
		answers := bufio.NewReader(connection)
		for count := 1; ; count++ {
			if _, err := fmt.Fprintf(connection, "message %d\n", count); err != nil {
				return err
			}
			if err := contract.Reading(connection); err != nil {
				return err
			}
			answer, err := answers.ReadString('\n')
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
			if count == 1 {
				contract.Emit("watching", nil)
			}
			contract.Observed(answer)
			time.Sleep(contract.Seconds("INTERVAL_SECONDS"))
		}
	})
}
