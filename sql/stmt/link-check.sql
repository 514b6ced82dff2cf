-- The first statement on each connection: are these statements and this schema
-- made for each other, and is this a server that the node may use? This pgbox
-- needs schema 2 and runs on the next one too. The parameters are what the node
-- has seen of stores, the rows what it is to remember.
-- in: stores uuid[], generations bigint[]
-- out: store_guid uuid, generation bigint
SELECT c.store_guid, c.generation
  FROM pgbox.link_check(2, 3, $1, $2) AS c
