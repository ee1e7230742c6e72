package bar

import (
	"fmt"

	"github.com/fanfare-ws/fanfare/loadtest/internal/floor"
	"github.com/fanfare-ws/fanfare/loadtest/internal/result"
)

func deliveries(s floor.Score) float64 { return s.Deliveries }
func p99(s floor.Score) float64        { return s.P99 }
func far(s floor.Score) float64        { return s.FarP99 / s.NearP99 }

// Compared are the lines of a comparison with the floor.
func Compared(t *floor.Table) (lines []Line) {
	for i := range t.Rows {
		r := &t.Rows[i]
		cpu := func(most float64) Line {
			return Line{What: r.Name + ": CPU per delivery", Measured: r.Ratio(floor.Score.CPU), Bar: most, Ratio: true, Note: costs(r)}
		}
		late := func(most float64) Line {
			return Line{
				What: r.Name + ": p99", Measured: r.Ratio(p99), Bar: most, Ratio: true,
				Note: fmt.Sprintf("%s ms, the floor %s", amount(floor.Median(r.Gateway, p99)), amount(floor.Median(r.Floor, p99))),
			}
		}
		switch r.Kind {
		case floor.OneAtATime:
			lines = append(lines, cpu(1.10))
		case floor.UnderWay:
			lines = append(lines, cpu(0.09),
				Line{What: r.Name + ": on one processor", Measured: floor.Median(r.Gateway, deliveries), Unit: "/s", Bar: 1e6, Least: true})
		case floor.OpenLoop:
			lines = append(lines, cpu(1.10), late(1.05))
		case floor.Rooms:
			lines = append(lines, cpu(1.15))
		case floor.RoomsOpenLoop:
			lines = append(lines, late(1.2))
		case floor.Fleet:
			lines = append(lines, cpu(1.15), Line{What: r.Name + ": p99 far to near", Measured: floor.Median(r.Gateway, far), Bar: 1.1})
		}
	}
	return lines
}

// costs tells user and system time apart.
func costs(r *floor.Row) string {
	part := func(scores []floor.Score) string {
		return amount(floor.Median(scores, func(s floor.Score) float64 { return s.User })) + " + " +
			amount(floor.Median(scores, func(s floor.Score) float64 { return s.System }))
	}
	return fmt.Sprintf("%s s/million user + system, the floor %s", part(r.Gateway), part(r.Floor))
}

// Idle are the lines of connections that do nothing.
func Idle(r *result.Result) []Line {
	s, n := &r.Servers[0], float64(r.Connections.Most)
	return []Line{
		{What: fmt.Sprintf("idle, %s in one room: memory of a connection", amount(n)), Measured: float64(s.Until.Memory-s.Before.Memory) / n, Unit: "B", Bar: 640},
		{What: "idle: CPU of a connection and second", Measured: (s.Until.CPU() - s.From.CPU()) / n / r.Window.Seconds * 1e6, Unit: "µs", Bar: 1},
	}
}

// Churn are the lines of connections that come, join and go.
func Churn(r *result.Result) []Line {
	s, n := &r.Servers[0], float64(r.Window.Opened)
	user, system := s.Until.User-s.From.User, s.Until.System-s.From.System
	return []Line{
		{
			What: "churn: CPU of a connection's coming, joining and going", Measured: (user + system) / n * 1e6, Unit: "µs", Bar: 60,
			Note: fmt.Sprintf("%s + %s user + system", amount(user/n*1e6), amount(system/n*1e6)),
		},
		{What: "churn: on one processor", Measured: n / r.Window.Seconds, Unit: "/s", Bar: 12_000, Least: true},
	}
}

// Storm are the lines of all connections cut at once. reads is how often Redis was
// asked for a room's messages meanwhile.
func Storm(r *result.Result, rooms, gateways, reads int) []Line {
	return []Line{
		{What: fmt.Sprintf("storm of %s: the last is back and caught up", amount(float64(r.Connections.Back))), Measured: r.CaughtUp.Max().Seconds(), Unit: "s", Bar: 10},
		{What: fmt.Sprintf("storm: reads of Redis, %d rooms × %d gateways", rooms, gateways), Measured: float64(reads), Bar: float64(2 * rooms * gateways)},
	}
}

// Publish is the line of Redis' part in a publication.
func Publish(seconds float64, messages uint64) []Line {
	return []Line{{What: "publish to a room with history, batched: CPU of Redis", Measured: seconds / float64(messages) * 1e6, Unit: "µs", Bar: 12}}
}

// IdleRooms are the lines of rooms in which nothing happens: what they take, and
// what is left of that once everyone has left them.
func IdleRooms(rooms int, before, with, after int64) []Line {
	n := float64(rooms)
	return []Line{
		{What: fmt.Sprintf("%s idle rooms: memory of each", amount(n)), Measured: float64(with-before) / n, Unit: "B", Bar: 1024},
		{What: "idle rooms: memory of each, kept after all have left", Measured: float64(max(after-before, 0)) / n, Unit: "B", Bar: 50},
	}
}
