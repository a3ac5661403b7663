-- table: public.orders, guard: none
-- column: id integer, not null, volatile, default: nextval('public.orders_id_seq'::regclass)
-- column: email character varying(5), default: 'X'::character varying
-- column: note text
-- column: n numeric(6,2)
-- column: id_new bigint, hidden
-- column: mail character varying(5), hidden
-- pair: id_new = (@id)::bigint
-- pair: mail = @email, back: email = @mail

--# Each row has its field twice: the text of an integer is that of a bigint, and a rename is one column.
COPY orders FROM STDIN
--> rewritten
COPY orders ("id", "email", "note", "n", "id_new", "mail") FROM STDIN

--# With a list.
copy public.orders (email, "id", note) from stdin with (format csv, header match)
--> rewritten
copy public.orders (email, "id", note, "id_new", "mail") from stdin with (format csv, header match)

--# The older syntax, with lists of columns among the options.
COPY orders (id, email) FROM STDIN USING DELIMITERS ';' WITH NULL AS '' CSV HEADER QUOTE AS '"' FORCE NOT NULL email, id
--> rewritten
COPY orders (id, email, "id_new", "mail") FROM STDIN USING DELIMITERS ';' WITH NULL AS '' CSV HEADER QUOTE AS '"' FORCE NOT NULL email, id, "id_new", "mail"

--# And the newer.
COPY orders (id, email) FROM STDIN (FORMAT csv, FORCE_NOT_NULL (email), FORCE_NULL (id, email), FREEZE) WHERE id > 3
--> rewritten
COPY orders (id, email, "id_new", "mail") FROM STDIN (FORMAT csv, FORCE_NOT_NULL (email, "mail"), FORCE_NULL (id, email, "id_new", "mail"), FREEZE) WHERE id > 3

--# Binary.
COPY BINARY orders (id, email) FROM STDIN
--> rewritten
COPY BINARY orders (id, email, "id_new", "mail") FROM STDIN

--# A column that the data does not give has its default, and so has the other: here a constant.
COPY orders (id, note) FROM STDIN
--> rewritten
COPY orders (id, note, "id_new", "mail") FROM STDIN

--# Of a default that is drawn nobody knows before the server.
COPY orders (email, note) FROM STDIN
--> refused copy-default
this statement cannot be rewritten for table "public.orders", which is under migration (copy-default)

--# A field that stands for the default.
COPY orders (email, id, note) FROM STDIN (DEFAULT '\D')
--> refused copy-default
this statement cannot be rewritten for table "public.orders", which is under migration (copy-default)

--# A new application names the new column.
COPY orders (id, mail) FROM STDIN
--> rewritten
COPY orders (id, mail, "id_new", "email") FROM STDIN

--# Both columns given: they are left.
COPY orders (id, id_new, email, mail) FROM STDIN
--> unchanged

--# A file of the server's does not pass here.
COPY orders FROM '/tmp/orders.csv' WITH (FORMAT csv)
--> refused copy-file
this statement cannot be rewritten for table "public.orders", which is under migration (copy-file)

--# Nor does a program's output.
COPY orders FROM PROGRAM 'cat /tmp/orders.csv'
--> refused copy-file
this statement cannot be rewritten for table "public.orders", which is under migration (copy-file)

--# A delimiter that may be a part of an escape, or an option that is not known.
COPY orders FROM STDIN WITH (DELIMITER 'A')
--> refused copy-options
this statement cannot be rewritten for table "public.orders", which is under migration (copy-options)

--# The same.
COPY orders FROM STDIN WITH (FORMAT csv, ENCODING 'sjis')
--> refused copy-options
this statement cannot be rewritten for table "public.orders", which is under migration (copy-options)

--# Several in one text.
COPY orders (id) FROM STDIN; COPY other FROM STDIN; COPY orders (email, id) FROM STDIN
--> rewritten
COPY orders (id, "id_new", "mail") FROM STDIN; COPY other FROM STDIN; COPY orders (email, id, "id_new", "mail") FROM STDIN

--# The data of these may be read, and a row left out: only one that could be read would not be.
COPY orders (id, email) FROM STDIN (ON_ERROR ignore, LOG_VERBOSITY verbose, REJECT_LIMIT 3)
--> rewritten
COPY orders (id, email, "id_new", "mail") FROM STDIN (ON_ERROR ignore, LOG_VERBOSITY verbose, REJECT_LIMIT 3)

--# An option twice: the server refuses it.
COPY orders (id, email) FROM STDIN (FORMAT csv, FORMAT csv)
--> unchanged

--# So it does an option of COPY TO.
COPY orders (id, email) FROM STDIN (FORMAT csv, FORCE_QUOTE (id))
--> unchanged
