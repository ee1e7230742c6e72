-- Drops what a room keeps and begins a new epoch. IDs keep counting.
-- KEYS: the room's state, its stream.
-- ARGV: 1 the new epoch; 2 ms that the state lives; 3 channel; 4 PUBLISH or SPUBLISH.
begin(KEYS[1], KEYS[2], ARGV[1], ARGV[2])
tell(ARGV[4], ARGV[3], 0, ARGV[1])
return ARGV[1]
