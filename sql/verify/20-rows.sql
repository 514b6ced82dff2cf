-- Do counters equal rows, and is what messages refer to complete? The rules are
-- those of the view; what can be mended says how.
SELECT v.problem || ' (' || v.remedy || ')' FROM pgbox.invariant_violations AS v;
