-- Which store is this?
-- out: store_guid uuid
SELECT s.store_guid
  FROM pgbox.store AS s
