-- table: public.orders, guard: none
-- column: id integer
-- column: n numeric(6,2)
-- column: u uuid
-- column: v character varying(5)
-- column: id_text text, hidden
-- column: u_text text, hidden
-- pair: id_text = (@id)::text
-- pair: u_text = (@u)::text

--# Where nothing repairs a text, it has to be certain: that of an integer, a boolean or a uuid is.
COPY orders FROM STDIN
--> rewritten
COPY orders ("id", "n", "u", "v", "id_text", "u_text") FROM STDIN

--# In binary too.
COPY orders FROM STDIN (FORMAT binary)
--> rewritten
COPY orders ("id", "n", "u", "v", "id_text", "u_text") FROM STDIN (FORMAT binary)
