-- For the service of a node, on its own connection.
LISTEN pgbox
