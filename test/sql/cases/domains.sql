-- table: public.orders, guard: repair
-- column: id public.number, under integer, default: 7
-- column: note public.remark, under text
-- column: code public.code, under character varying(5)
-- column: amount public.amount, under numeric(6,2), default: 12.50
-- column: bits bit varying(9)
-- column: label name
-- column: day public.day, under timestamp(0) without time zone
-- column: id_new bigint, hidden
-- column: note_text text, hidden
-- column: code_text text, hidden
-- column: bits_text text, hidden
-- column: amount_text text, hidden
-- column: label_text character varying(63), hidden
-- column: day_plain timestamp(0) without time zone, hidden
-- pair: day_plain = (@day)::timestamp(0) without time zone
-- pair: id_new = (@id)::bigint
-- pair: note_text = (@note)::text
-- pair: code_text = (@code)::text
-- pair: bits_text = (@bits)::text
-- pair: amount_text = (@amount)::text
-- pair: label_text = (@label)::character varying

--# A domain reads and writes a text as the type under it does.
COPY orders (id, note, code, bits, label) FROM STDIN
--> rewritten
COPY orders (id, note, code, bits, label, "id_new", "note_text", "code_text", "bits_text", "amount_text", "label_text") FROM STDIN

--# A default that is a constant, of the type under the domain.
COPY orders (note, code, bits, label) FROM STDIN
--> rewritten
COPY orders (note, code, bits, label, "id_new", "note_text", "code_text", "bits_text", "amount_text", "label_text") FROM STDIN

--# No bits are a value of theirs, and no NULL.
COPY orders (id, note, code, bits, label) FROM STDIN (FORMAT csv, FORCE_NULL (bits))
--> guarded copy-options

--# Constants of a domain over text are constants of a text.
INSERT INTO orders (id, note, code) VALUES (1, 'a', 'b')
--> rewritten
INSERT INTO orders (id, note, code, "day_plain", "id_new", "note_text", "code_text", "bits_text", "amount_text", "label_text") VALUES (1, 'a', 'b', (((NULL)::public.day))::timestamp(0) without time zone, (((1)::public.number))::bigint, 'a', ((('b')::public.code))::text, (((NULL)::bit varying(9)))::text, (((12.50)::public.amount))::text, (((NULL)::name))::character varying)
