-- table: public.orders, guard: repair
-- column: marks public.number[], under integer[]
-- column: list public.list, under integer[]
-- column: marks_plain integer[], hidden
-- column: list_plain integer[], hidden
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
