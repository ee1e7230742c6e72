//go:build unix && !linux

package poll

import "time"

// userTimeout is what the test sets: there is none here.
func userTimeout(int) (time.Duration, error) { return 7 * time.Second, nil }
