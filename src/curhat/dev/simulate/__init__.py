"""`curhat simulate`: many customers and mitras as clients of a running server, and a check of the invariants.

main        one run, from choosing the people to the report and the exit status
people      the people of a run, and what each of them will do, drawn from the seed
client      a person's devices: HTTP, sockets, and the comparison with a fresh snapshot
picture     what a client shows: a snapshot, changed by each event
customer    what a customer does
mitra       what a mitra does
invariants  the conditions that must hold in the database; the tests check them too
bots        a few simulated people who stay, so that one developer can try both sides
report      the counts, the progress display, and the report
"""
