// Package redis is the broker over Redis 7: many gateways as one
// service, through a standalone server, Sentinel or a Cluster.
//
// # What it keeps
//
// A room is a string with its state (epoch, newest seq, counts) and a stream whose
// ids are SEQ-0: with the number as the id a range by seq needs no index, a message that is
// stored can be found by its number for ever, and two messages can never bear the
// same one. The price is that an entry from elsewhere may block the next id; the
// script then begins a new epoch. A publish ID is a key of its own with the window
// as its expiry. One Lua script does all that a publication needs, so that a
// message has its number, is stored and is published at one instant. What waits for
// the same room is given to it together: each message is answered and published as
// if it had come alone, and costs Redis half as much.
//
// A room's state lives for a day after the last publication or Tails, and longer
// where its history or the de-duplication window do. The broker extends the rooms
// it is subscribed to. When the state is gone, by expiry, eviction or FLUSHALL, the
// next who asks begins a new epoch: a seq is never given twice within one. What a
// publication could not store is never stored later: no command is sent twice
// unless Redis said that it did not run it, so a publication without an ID is not
// doubled by the broker. One whose answer was lost is answered with
// broker.ErrUnavailable, and its ID lets its publisher try again.
//
// # Who does the work
//
// Rooms belong to shards by the hash of their name. In a Cluster a shard is a
// partition: a hash tag of its own, sharded pub/sub, the same for all gateways;
// the tags are chosen so that they lie evenly over the slots. Otherwise there are
// two, which are only this gateway's way to use two connections.
//
// Each shard has a lane, whose goroutine takes publications from a queue and sends
// them as pipelines of runs of the script, one pipeline at a time, which keeps the order of a room. After a round
// trip that failed the lane refuses publications at once, and tries by itself
// until Redis takes a write again.
//
// Each shard has a subscriber: one goroutine that makes the connection, batches
// joins and leaves and sends probes; one that only reads; and one that decodes and
// calls the Sink. Between the last two is a bounded inbox. Where it overflows,
// messages are dropped and counted, and their rooms get Sink.Subscribed again, as
// all rooms of a connection do that was made anew: it says that something may have
// been lost, and the receiver reads the log. Sink.Published comes from the lanes,
// and may run beside the calls of a subscriber.
//
// # What proves it
//
// A subscriber is proven by a probe that a script publishes to the connection's
// own channel through the commands' connections. The script writes, so that it
// fails on a server that was made a replica. A probe that is overdue ends the
// connection; the next one is made from the name on: DNS, Sentinel or the
// Cluster's slots. Ready is an error when the last proof is older than
// Config.ProbeTimeout.
//
// # People
//
// Who is in the rooms is kept in the rooms' partitions: of each room its users in
// order, for pages that stand who comes and goes, and how many connections each has
// in all; of each gateway and room the users that are there by it. A gateway says
// absolute numbers, by rooms and not by connections; the script that takes them
// finds who came to and left the room over all gateways, tells the room's channel,
// and writes the lifecycle events into the partition's stream, at one instant. Names
// and revocations lie in the first partition.
//
// All that a gateway says stands under one lease, which Announce renews by one
// script: nothing is renewed for a room or a user, but once in hours the life of the
// keys. When it has run out, whoever calls Reap takes back what the gateway said, in
// bounded steps that each look at the lease again, through the same code that lets
// users leave. An outage of Redis is nobody's death: leases that were good when it
// began last until their gateways had time to come back.
//
// Calls of a gateway are numbered, and Redis keeps the largest number it has seen.
// One that was given up and comes late is not taken. Where the number is smaller than
// one that was answered, by a failover to a replica that lagged or by FLUSHALL, or
// the lease ran out, Announce says that what was said no longer stands. The gateway
// then says all again as another holder, a number behind its id: what is said again
// moves from the old holder without anyone having left, and what is not, goes when
// the old one's lease runs out some seconds later.
//
// Revocations are a table with a version, so that reading it while it is the same
// costs a GET. A broker gives back those that it knows and Redis has lost.
//
// # What a failover may not do in silence
//
// Replication lags, so that a replica which is promoted may end a log before what was
// acknowledged or delivered, and give the same numbers again; and an old master that
// was stopped acknowledges, until it is told, what is thrown away then. For each room
// that it has heard of in the last minutes a gateway keeps how far the log has come,
// and the stamp of what lies there. A publication brings this with it: the script
// begins a new epoch where the log is behind it. Tails, Range and deliveries are held
// against it, and after each end of a connection the rooms are compared, since what
// nobody was delivered is known to nobody else. An answer that contradicts what was
// delivered is none. What no gateway has heard of that still runs can be missed by
// none: for that there is min-replicas-to-write, and a warning where it is 0.
//
// # The term of a master
//
// That each gateway holds what it knows against a log is of use only before its numbers
// are given again. This is how an acknowledged message was lost in silence, on a machine
// on which a gateway did not run for a second. Gateways A and B, members of a room at
// both, a master M and its replica R, which lags:
//
//	A        has 10 acknowledged by M; nobody else is delivered it
//	M        dies; R, which ends at 9, is promoted
//	B        sees that, and publishes: R gives 10 to another message
//	members  at B are delivered that one, in the same epoch
//	A        runs again, finds its 10 to be another's, and renews the log: the members
//	         at B get a reset behind their newest message, while the lost one lies before it
//
// So with sentinels a master has a term, named by the configuration that named it.
// Connections are made to no server but the one that the newest configuration names
// and whose term this gateway has entered, which is its first call there: it begins
// the term, with whose token each publication comes. A publication whose token the
// server is not open by is refused: so is one by who dials the new master and does
// not know it for one, since what R is open by came with M's data. The term has a roll:
// the gateways whose lease R knows. Each is struck off when it has left M, has all
// answers of M noted, and has compared and renewed its rooms. When the roll is empty
// the term is open. A gateway that does not answer is waited for as long as a lease
// lasts. Then the term is open without it, and what it may know is taken for missing:
// all rooms begin a new epoch, those with members at once and the others with their
// next publication, so that what is lost lies behind a reset for every member. A gateway
// that still acknowledges by M then adds to what lies there; before it does, it asks the
// sentinels, if it has not of late.
//
// In a Cluster and on one server that comes back with less than it had there is no term:
// the log is compared by each gateway when it finds the connection ended, and the first
// publication may be before that.
//
// The package never blocks a caller but in Range, Tails, Renew, Forget and the
// Fleet's and the People's methods, which end with their context; each of their round
// trips ends at the latest after Config.ReadTimeout. It never uses KEYS, SCAN,
// patterns or text of users in scripts.
package redis
