package config

import "strings"

// Changes are the keys whose values differ between two configurations: those that
// a gateway takes over while it runs, and those that need a restart.
func Changes(from, to *Config) (live, restart []string) {
	before := from.options()
	for i, o := range to.options() {
		switch {
		case o.value.text() == before[i].value.text():
		case o.live:
			live = append(live, o.key)
		default:
			restart = append(restart, o.key)
		}
	}
	return live, restart
}

// Files are those whose content a reload reads again: the configuration's own, if
// there is one, and those that live keys name.
func (c *Config) Files() []string {
	var files []string
	if c.File != "" {
		files = append(files, c.File)
	}
	for _, o := range c.options() {
		if names := o.value.text(); o.file && o.live && names != "" {
			files = append(files, strings.Split(names, ",")...)
		}
	}
	return files
}
