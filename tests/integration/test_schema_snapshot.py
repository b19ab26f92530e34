"""Test that contracts/schema.sql has every object of the dump, and each table before its constraints and indexes."""

import re
from collections import Counter

from curhat.dev.schema import NOTICE, dumped, snapshot

DUMP = r"""--
-- PostgreSQL database dump
--

\restrict random

SET client_encoding = 'UTF8';
SELECT pg_catalog.set_config('search_path', '', false);

--
-- Name: forbid(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.forbid() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    -- Nobody may.
    RAISE EXCEPTION 'no';
END $$;


SET default_table_access_method = heap;

--
-- Name: notes; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.notes (
    id bigint NOT NULL
);


--
-- Name: notes_id_seq; Type: SEQUENCE; Schema: public; Owner: -
--

ALTER TABLE public.notes ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.notes_id_seq
    START WITH 1
);


--
-- Name: accounts; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.accounts (
    id bigint NOT NULL
);


--
-- Name: notes notes_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.notes
    ADD CONSTRAINT notes_pkey PRIMARY KEY (id);


--
-- Name: accounts_by_id; Type: INDEX; Schema: public; Owner: -
--

CREATE UNIQUE INDEX accounts_by_id ON public.accounts USING btree (id);


--
-- Name: notes notes_fixed; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER notes_fixed BEFORE UPDATE ON public.notes FOR EACH ROW EXECUTE FUNCTION public.forbid();


--
-- PostgreSQL database dump complete
--

\unrestrict random
"""

SNAPSHOT = """
CREATE TABLE accounts (
    id bigint NOT NULL
);
CREATE UNIQUE INDEX accounts_by_id ON accounts USING btree (id);

CREATE TABLE notes (
    id bigint NOT NULL
);
ALTER TABLE notes ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY;
ALTER TABLE notes ADD CONSTRAINT notes_pkey PRIMARY KEY (id);
CREATE TRIGGER notes_fixed BEFORE UPDATE ON notes FOR EACH ROW EXECUTE FUNCTION forbid();

CREATE FUNCTION forbid() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    -- Nobody may.
    RAISE EXCEPTION 'no';
END $$;
"""


def test_the_snapshot_lists_each_table_before_the_objects_of_the_table() -> None:
    assert snapshot(DUMP) == NOTICE + SNAPSHOT


async def test_the_snapshot_contains_every_object_of_the_dump() -> None:
    def objects(text: str) -> Counter[str]:
        # The pattern matches, for example, CREATE INDEX, CREATE FUNCTION and ADD CONSTRAINT.
        return Counter(re.findall(r"^(?:CREATE|ALTER TABLE.*\sADD) (?:UNIQUE )?\w+", text, re.MULTILINE))

    dump = (await dumped()).replace("public.", "").replace(" ONLY", "").replace("\n    ADD ", " ADD ")
    kept, all_objects = objects(snapshot(dump)), objects(dump)
    assert kept == all_objects
    assert all_objects["CREATE TABLE"] > 20
