-- table: public.orders, guard: none
-- column: n numeric(6,2)
-- column: n_text text, hidden
-- pair: n_text = (@n)::text

--# A numeric with an exponent is left to the guard, so there has to be one.
COPY orders FROM STDIN
--> refused copy-expression
this statement cannot be rewritten for table "public.orders", which is under migration (copy-expression)
