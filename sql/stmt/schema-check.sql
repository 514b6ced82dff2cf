-- The first statement on each connection: are these statements and this schema
-- made for each other? This pgbox needs schema 2 and runs on the next one too.
SELECT pgbox.schema_check(2, 3)
