package gateway

import (
	"runtime"
	"sync"
	"syscall"
	"time"
)

// loadOver is the least time over which the load is measured: less is noise.
const loadOver = time.Second

// load is how busy the process is.
type load struct {
	mu   sync.Mutex
	at   time.Time     // of the last measurement; zero: none yet
	cpu  time.Duration // that the process had used by then
	last float64
}

// now is the part of its processors' time that the process used between the last
// two measurements, 0 to 1. It measures if the last one is old enough.
func (l *load) now(at time.Time, cpu time.Duration, processors int) float64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	since := at.Sub(l.at)
	if !l.at.IsZero() && since < loadOver {
		return l.last
	}
	if !l.at.IsZero() {
		l.last = min(1, float64(cpu-l.cpu)/float64(since)/float64(processors))
	}
	l.at, l.cpu = at, cpu
	return l.last
}

// busy is the load of this process.
func (g *Gateway) busy() float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0 // only of an argument that is not known
	}
	cpu := time.Duration(u.Utime.Nano() + u.Stime.Nano())
	return g.load.now(time.Now(), cpu, runtime.GOMAXPROCS(0))
}
