-- Gives the id of the store, the number of its last change, and the ids that it had before, each with its
-- last number.
-- Changes nothing, but fails on a replica, and on a server that accepts no writes at present.
redis.call('HDEL', marks, '#')
return {id, number, past}
