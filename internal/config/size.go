package config

import (
	"fmt"
	"strconv"
	"strings"
)

// maxSize is 1 PiB: sums and products of a few sizes cannot overflow.
const maxSize = 1 << 50

var units = []struct {
	name  string
	bytes int64
}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}}

func size(field *int64, least int64) setting {
	return &scalar[int64]{field: field, of: kindSize, format: formatSize,
		takes: fmt.Sprintf("a size from %s to %s, such as 65536, 64KiB, 1MiB or 2GiB", formatSize(least), formatSize(maxSize)),
		parse: func(s string) (int64, bool) {
			v, ok := parseSize(s)
			return v, ok && v >= least
		}}
}

func parseSize(s string) (int64, bool) {
	factor := int64(1)
	for _, u := range units {
		if number, ok := strings.CutSuffix(s, u.name); ok {
			s, factor = number, u.bytes
			break
		}
	}
	n, err := strconv.ParseUint(s, 10, 63)
	if err != nil || int64(n) > maxSize/factor {
		return 0, false
	}
	return int64(n) * factor, true
}

// formatSize writes a size in the largest unit that it is a multiple of.
func formatSize(n int64) string {
	for _, u := range units {
		if u.bytes > 1 && n != 0 && n%u.bytes == 0 {
			return strconv.FormatInt(n/u.bytes, 10) + u.name
		}
	}
	return strconv.FormatInt(n, 10)
}
