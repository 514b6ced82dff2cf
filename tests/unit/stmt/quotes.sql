-- Text that the generator must not touch.
-- out: a text, c text,
-- out: d text, e text
SELECT 'a -- b', "c", E'\\', -- gone
	'it''s'
