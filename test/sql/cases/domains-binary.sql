-- table: public.orders, guard: repair
-- column: marks public.number[], under integer[]
-- column: list public.list, under integer[]
-- column: id public.number, under integer
-- column: note public.remark, under text
-- column: bits bit(4)
-- column: marks_plain integer[], hidden
-- column: list_plain integer[], hidden
-- column: id_text text, hidden
-- column: id_new bigint, hidden
-- column: note_text text, hidden
-- column: bits_text text, hidden
-- pair: id_text = (@id)::text
-- pair: id_new = (@id)::bigint
-- pair: note_text = (@note)::text
-- pair: bits_text = (@bits)::text
-- pair: marks_plain = (@marks)::integer[]
-- pair: list_plain = (@list)::integer[]

--# An array says in binary of what type its elements are, which is a domain.
COPY orders (marks) FROM STDIN (FORMAT binary)
--> guarded copy-expression

--# A domain over an array does not.
COPY orders (list, marks, marks_plain) FROM STDIN (FORMAT binary)
--> rewritten
COPY orders (list, marks, marks_plain, "list_plain") FROM STDIN (FORMAT binary)

--# As text an array of a domain is known no better.
COPY orders (marks) FROM STDIN
--> guarded copy-expression

--# What is under a domain is what it is in binary.
COPY orders (id, note, list, marks, marks_plain) FROM STDIN (FORMAT binary)
--> rewritten
COPY orders (id, note, list, marks, marks_plain, "id_text", "id_new", "note_text", "list_plain") FROM STDIN (FORMAT binary)

--# In binary bits have a number before them.
COPY orders (bits, marks, marks_plain) FROM STDIN (FORMAT binary)
--> guarded copy-expression
