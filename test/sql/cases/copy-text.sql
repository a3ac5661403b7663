-- table: public.orders, guard: repair
-- column: id integer, default: 7
-- column: flag boolean, default: true
-- column: n numeric(6,2)
-- column: v character varying(5)
-- column: t text
-- column: id_text character varying(11), hidden
-- column: flag_text text, hidden
-- column: n_text text, hidden
-- column: v_text character varying(9), hidden
-- column: t_number integer, hidden
-- pair: id_text = (@id)::character varying
-- pair: flag_text = (@flag)::text
-- pair: n_text = (@n)::text
-- pair: v_text = (@v)::character varying
-- pair: t_number = (@t)::integer

--# Text that is made from these types the proxy prints as the server does; a text is read as it is cast.
COPY orders FROM STDIN
--> rewritten
COPY orders ("id", "flag", "n", "v", "t", "id_text", "flag_text", "n_text", "v_text", "t_number") FROM STDIN

--# An empty field is no integer, so NULL may be forced for it or not.
COPY orders (id, flag, n, v, t) FROM STDIN (FORMAT csv, FORCE_NULL (id), FORCE_NOT_NULL (flag))
--> rewritten
COPY orders (id, flag, n, v, t, "id_text", "flag_text", "n_text", "v_text", "t_number") FROM STDIN (FORMAT csv, FORCE_NULL (id, "id_text"), FORCE_NOT_NULL (flag, "flag_text"))

--# Another mark of NULL might be what an integer is printed as.
COPY orders (id, flag, n, v, t) FROM STDIN (FORMAT csv, FORCE_NULL (id), NULL '5')
--> guarded copy-options

--# An empty field is a text.
COPY orders (id, flag, n, v, t) FROM STDIN (FORMAT csv, FORCE_NULL (v))
--> guarded copy-options

--# A quote that may be part of a number.
COPY orders FROM STDIN (FORMAT csv, QUOTE '-')
--> guarded copy-options
COPY orders ("id", "flag", "n", "v", "t") FROM STDIN (FORMAT csv, QUOTE '-')

--# A row whose text is no integer would be left out without a word.
COPY orders (id, flag, n, v, t) FROM STDIN (ON_ERROR ignore)
--> guarded copy-options

--# Constants that columns are left to.
COPY orders (n, v, t) FROM STDIN
--> rewritten
COPY orders (n, v, t, "id_text", "flag_text", "n_text", "v_text", "t_number") FROM STDIN
