"""`curhat simulate`: runs customers and mitras as clients of a running server, and checks the invariants.

`main` makes one run, from choosing the people to the report and the exit status.
`people` draws the people of a run and their plans from the seed.
`client` has the devices of a person: HTTP, sockets, and the comparison with a fresh snapshot.
`picture` keeps the data that a client shows: a snapshot, changed by each event.
`customer` has the steps of a customer.
`mitra` has the steps of a mitra.
`invariants` checks the conditions that must hold in the database. The tests check these conditions too.
`bots` runs a few simulated people who stay, so that one developer can try both sides.
`report` has the counts, the progress display, and the report.
"""
