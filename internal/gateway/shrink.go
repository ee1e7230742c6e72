package gateway

// leastShrunk is how large a map must have been to be made anew.
const leastShrunk = 256

// shrunk returns m, or the same in a smaller map where it has only a quarter left of
// what it had at its peak: a map never shrinks. It is called after a removal.
func shrunk[V any](m map[string]V, peak int) (map[string]V, int) {
	peak = max(peak, len(m)+1)
	if peak < leastShrunk || len(m) > peak/4 {
		return m, peak
	}
	small := make(map[string]V, len(m))
	for key, value := range m {
		small[key] = value
	}
	return small, len(m)
}
