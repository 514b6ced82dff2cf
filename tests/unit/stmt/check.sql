-- The first statement of a link, in tests of that.
SELECT 1 WHERE false
