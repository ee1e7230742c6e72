// Package config owns the one configuration of Fanfare: every key with its
// type, its default and the reason for it, in the tables of options.go and
// rooms.go. Flags, environment variables, the YAML file, `config show` and
// `config defaults` all derive from them.
//
// The key a.b_c is the flag --a-b-c and the variable FANFARE_A_B_C. A flag goes
// before a variable, that before the file, that before the default. Reading is
// strict: what is not known or does not fit is a Problem that names where it
// stands and what would be right, never a silent default. A variable that is
// set but empty counts as not set.
//
// The package runs on its caller's goroutine, at the start and for each reload,
// and reads nothing but the file that --config names: the environment is handed
// to it. What a reload may change is marked in the tables; Changes tells it from
// what needs a restart.
package config
