-- table: public.chain, guard: repair
-- column: a integer
-- column: b bigint, hidden
-- column: c numeric, hidden
-- pair: b = (@a)::bigint
-- pair: c = (@b)::numeric

--# A follow column that is itself a lead is the guard's.
INSERT INTO chain (a) VALUES (1)
--> guarded chained

--# In any statement that writes.
UPDATE chain SET a = 2
--> guarded chained

--# Not in one that reads.
SELECT * FROM chain
--> rewritten
SELECT "public"."chain"."a" FROM chain
