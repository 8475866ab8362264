package demo

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// memoryHas reports which of the needles stand anywhere in the writable memory of a child process. A page that cannot
// be read (a device, a guard page) is passed over.
func memoryHas(pid int, needles []string) (found []string, scanned int64, err error) {
	maps, err := os.Open(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return nil, 0, err
	}
	defer maps.Close()
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		return nil, 0, err
	}
	defer mem.Close()
	hit := map[string]bool{}
	const chunk = 1 << 20
	buf := make([]byte, chunk+256) // a needle may cross two chunks
	for lines := bufio.NewScanner(maps); lines.Scan(); {
		var from, to int64
		var mode string
		if _, err := fmt.Sscanf(lines.Text(), "%x-%x %s", &from, &to, &mode); err != nil || !strings.HasPrefix(mode, "rw") {
			continue
		}
		for at := from; at < to; at += chunk {
			n, err := mem.ReadAt(buf[:min(int64(len(buf)), to-at)], at)
			if err != nil && !errors.Is(err, io.EOF) && n == 0 {
				continue
			}
			scanned += int64(min(n, chunk))
			for _, s := range needles {
				if !hit[s] && bytes.Contains(buf[:n], []byte(s)) {
					hit[s] = true
					found = append(found, s)
				}
			}
		}
	}
	if scanned == 0 {
		return nil, 0, fmt.Errorf("nothing of the memory of process %d could be read", pid)
	}
	return found, scanned, nil
}
