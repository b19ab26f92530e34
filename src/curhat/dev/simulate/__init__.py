"""`curhat simulate`: many customers and mitras as real clients of a running server, and what must have held.

main        the run: cast, stage, quiet, report, exit status
people      who takes part, and what each of them will do, drawn from the seed
client      a person's devices: HTTP, sockets, and the comparison with a fresh snapshot
picture     what a client shows: a snapshot, and how each event changes it
customer    what a customer does
mitra       what a mitra does
invariants  what must hold in the database, as SQL; the tests use it as well
bots        a few of them who stay, for somebody who tries the product alone
report      counting, the progress display, and the report
"""
